"""The part of a report that judges pictures: what ``benchmarks/measure_video.py`` found of the same camera model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wm_gym.data.video import inspect_video
from wm_gym.errors import DataError, ModelError
from wm_gym.evaluation.film import Film
from wm_gym.evaluation.identity import folder_digest
from wm_gym.files import file_hash, read_json
from wm_gym.models import TrainedModel

Plain = dict[str, Any]

_FIGURES = ("place", "unit", "context", "windows", "episodes", "by_horizon", "shuffled_action_gap", "command")
_ALSO = ("effects", "permanence")
_RETURNS = ("physical", "imagined", "refiltered")
NOT_MEASURED: Plain = {"tested": False, "reason": "this model imagines states, not frames"}


def read_camera(folder: Path, trained: TrainedModel) -> Plain:
    """The figures of a video benchmark, as the report's ``camera`` section.

    Raises:
        DataError: there is none, or it is incomplete.
        ModelError: it judged another model.
    """
    path = folder / "result.json"
    found = read_json(path)
    if missing := [name for name in ("model", *_FIGURES) if name not in found]:
        raise DataError(f"{path}: no {missing[0]!r}: video=FOLDER is a folder of benchmarks/measure_video.py")
    if found["model"].get("model.safetensors") != trained.manifest["files"]["model.safetensors"]:
        raise ModelError(f"{path} judged another model than {trained.folder}: run benchmarks/measure_video.py for it")
    kept = {name: found[name] for name in (*_FIGURES, *_ALSO) if name in found}
    return {"tested": True, "agents": [], **kept, "result_sha256": file_hash(path)}


def read_camera_agent(folder: Path, trained: TrainedModel) -> Plain:
    """What a camera agent of ``agents/`` earned in MuJoCo, from the camera, and in imagination.

    Raises:
        DataError: it is no such agent, or one of another robot.
    """
    path = folder / "result.json"
    found = read_json(path)
    if found.get("task") != trained.task.name or "method" not in found or not found.get("trial"):
        raise DataError(f"{path}: not an agent of agents/train_camera_agent.py for {trained.task.name}")
    sha256 = folder_digest(folder / "policy") if (folder / "policy").is_dir() else None
    tried = found["trial"][found["algorithm"]]
    known = {name: found[name] for name in ("method", "seed", "real_steps", "training_seconds", "command")}
    return known | {"sha256": sha256} | {name: tried.get(name) for name in _RETURNS}


def read_film(folder: Path) -> Film:
    """The film and the stills of a video benchmark.

    Raises:
        DataError: one is missing or damaged.
    """
    video, strip = folder / "film.mp4", cv2.imread(str(folder / "strip.png"))
    if strip is None:
        raise DataError(f"{folder / 'strip.png'}: missing or damaged; run benchmarks/measure_video.py again")
    shape = inspect_video(video)
    _, stills = cv2.imencode(".jpg", np.asarray(strip))
    return Film(video.read_bytes(), bytes(stills), shape.width, shape.height, shape.frames, round(shape.fps), ())
