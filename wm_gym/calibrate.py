"""Calibrate a finished model on episodes recorded for this: ``python -m wm_gym.calibrate``.

python -m wm_gym.calibrate model=outputs/reacher/model dataset=outputs/reacher/calibration output=outputs/reacher/model

Record them as the training data were, with another seed, and with a limit that leaves room for long horizons:

python datasets/collect_episodes.py task=reacher task.max_episode_steps=250 num_steps=100000 seed=2000 cameras=[] \
    output=outputs/reacher/calibration
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.frames import cache_frames, check_same_views
from wm_gym.data.licence import stated_licence
from wm_gym.data.moments import cut_moments
from wm_gym.errors import ConfigError, DataError
from wm_gym.files import read_json, write_json
from wm_gym.models.camera_world import CameraWorld
from wm_gym.models.device import usable_device
from wm_gym.models.frame_fitting import embed_episodes, is_whole
from wm_gym.models.trained import TrainedModel, load_model
from wm_gym.models.trust import COVERAGE, Calibration
from wm_gym.types import Episode

_SHOWN = (1, 10, 25, 50, 100, 200)


@dataclass
class CalibrateConfig:
    """Settings of one calibration."""

    model: str = field(default=REQUIRED, metadata={"help": "a shipped model, or a model folder"})
    dataset: str = field(default=REQUIRED, metadata={"help": "a recording that the model was not fitted to"})
    output: str = field(default=REQUIRED, metadata={"help": "model folder to write; may be the old one"})
    stride: int = field(default=25, metadata={"help": "steps between the moments from which an episode is imagined"})
    seed: int = field(default=0, metadata={"help": "of the members and the noise that are drawn"})
    device: str = field(default="cpu", metadata={"help": "cpu or cuda"})
    allow_unlicensed: bool = field(default=False, metadata={"help": "use data that state no licence"})


def calibrate(config: CalibrateConfig) -> TrainedModel:
    """Measure a model's errors anew, and write the same weights with the new calibration.

    Raises:
        ModelError: the model does not exist or is damaged.
        DataError: the recording is the training one, of another robot, states no licence, or is damaged.
        ConfigError: a setting is out of range.
    """
    if config.stride < 1:
        raise ConfigError(f"stride={config.stride}: at least 1 is needed")
    trained, device = load_model(config.model), str(usable_device(config.device))
    dataset = open_dataset(config.dataset, check_videos=bool(trained.model.cameras))
    licence = stated_licence(dataset, config.allow_unlicensed)
    check_recording(trained, dataset)
    moved = trained.to(device)
    episodes = _episodes(moved, dataset, device)
    moments = list(cut_moments(episodes, config.stride, moved.model.context, device))
    measured = Calibration.measure(
        moved.model,
        moved.support,
        tqdm(moments, desc="imagine", unit="batch", file=sys.stderr, mininterval=0.5),
        torch.Generator().manual_seed(config.seed),
    )
    made = {
        "sha256": dataset.digest(),
        "episodes": len(episodes),
        "steps": sum(len(episode) for episode in episodes),
        "windows": sum(len(origin) for _, origin in moments),
        "coverage": COVERAGE,
        "licence": licence,
        "commands": [dataset.manifest.get("command", ""), f"python -m wm_gym.calibrate {shlex.join(sys.argv[1:])}"],
        "seed": config.seed,
    }
    calibrated = replace(trained, calibration=measured, manifest={**trained.manifest, "calibration": made})
    result = _result(calibrated, episodes, trained.folder)
    calibrated.save(Path(config.output))
    write_json(Path(config.output) / "result.json", result)
    return calibrated


def check_recording(trained: TrainedModel, dataset: Dataset) -> None:
    """Refuse a recording that says nothing of a model's errors.

    Raises:
        DataError: the model was fitted to it or to episodes of it, or it records another robot or from elsewhere.
    """
    if dataset.digest() == dict(trained.manifest.get("dataset", {})).get("sha256"):
        raise DataError(
            f"{dataset.folder}: the model was fitted to this recording; calibrate it on one with another seed=..."
        )
    ours, theirs = trained.task, dataset.task
    spaces = [(task.env_id, task.observation_space.size, task.action_space.size) for task in (ours, theirs)]
    if spaces[0] != spaces[1]:
        raise DataError(f"{dataset.folder} records {theirs.name}, the model imagines {ours.name}: record its own robot")
    check_same_views(dataset, trained.model.cameras)
    known = trained.starts.initial[:, 0]
    if trained.model.cameras or len(torch.unique(known, dim=0)) < len(known):
        return  # codes of frames, or a robot that begins alike every time: beginnings tell nothing
    beginnings = {row.numpy().tobytes() for row in known}
    shared = sum(episode.observations[0].tobytes() in beginnings for episode in dataset.episodes())
    if shared:
        raise DataError(
            f"{dataset.folder}: {shared} of its {len(dataset)} episodes begin as one that the model was fitted to; "
            "record it with another seed=..."
        )


def main(config: CalibrateConfig) -> None:
    """Calibrate a finished model on a recording that was made for this."""
    calibrated = calibrate(config)
    result = read_json(Path(config.output) / "result.json")["calibration"]
    print(f"\n{'after steps':<14}{'episodes':>10}{f'{COVERAGE:.0%} of errors below':>26}")
    for row in result["table"]:
        bound = f"{row['quantile']:.2f} x expected" if row["bounded"] else "too few episodes"
        print(f"{row['horizon']:<14}{row['episodes']:>10}{bound:>26}")
    print(f"trusted for {int(calibrated.calibration.horizon)} steps")
    print(f"model: {config.output}")


def _episodes(trained: TrainedModel, dataset: Dataset, device: str) -> list[Episode]:
    """What a state model has recorded as it is; for a camera model, embeddings of frames of every camera."""
    model = trained.model
    if not isinstance(model, CameraWorld):
        return list(dataset.episodes())
    with tempfile.TemporaryDirectory() as folder:
        cache = cache_frames(dataset, [camera.name for camera in model.cameras], Path(folder))
        films = (cache.of(number) for number in range(len(dataset)))
        embedded = embed_episodes(model, list(dataset.episodes()), films, device)
    return [episode for episode in embedded if is_whole(episode)]


def _result(calibrated: TrainedModel, episodes: Sequence[Episode], fitted: Path | None) -> dict[str, Any]:
    """The figures of the fit, where its folder holds them, and those of the calibration."""
    before = Path(fitted or "") / "result.json"
    fit: Mapping[str, Any] = read_json(before) if before.is_file() else {}
    measured, context = calibrated.calibration, calibrated.model.context
    lengths = torch.tensor([len(episode) - context for episode in episodes])
    table = [
        {
            "horizon": step,
            "episodes": (reached := int((lengths >= step).sum())),
            "quantile": float(measured.quantile[0, step - 1]),
            "bounded": reached * (1 - COVERAGE) >= COVERAGE - 1e-9,
        }
        for step in _SHOWN
        if step <= measured.scale.shape[1]
    ]
    trusted = int(measured.horizon)
    return {**fit, "trusted_steps": trusted, "calibration": {**calibrated.manifest["calibration"], "table": table}}


if __name__ == "__main__":
    run_program(main, CalibrateConfig)
