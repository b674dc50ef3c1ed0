"""Fit a world model to a recorded dataset: ``python -m wm_gym.train dataset=FOLDER output=FOLDER``."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.frames import FrameCache, cache_frames
from wm_gym.data.licence import stated_licence
from wm_gym.data.segments import Split, split_episodes
from wm_gym.errors import ConfigError, DataError, ModelError
from wm_gym.files import read_json, write_json
from wm_gym.fit_model import PARTS, FittedModel, fit_bar, fit_model
from wm_gym.models.augmentation import Augmentation
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.device import usable_device
from wm_gym.models.fitting import FitConfig, FitProgress
from wm_gym.models.frame_fitting import FrameBatches, embed_episodes, fit_coders, is_whole
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.trained import TrainedModel, load_model
from wm_gym.types import Episode

_CAMERA_SETTINGS = ("family", "cameras", "proprioception", "frame_updates", "frame_batch", "augment", "skip_bad")


@dataclass
class TrainConfig:
    """Settings of one fit."""

    dataset: str = field(default=REQUIRED, metadata={"help": "folder of a recorded dataset"})
    output: str = field(default=REQUIRED, metadata={"help": "model folder to write"})
    seed: int = field(default=0, metadata={"help": "of the split, the weights and the draws"})
    device: str = field(default="cpu", metadata={"help": "cpu or cuda"})
    threads: int = field(default=0, metadata={"help": "torch threads; 0 leaves torch's own choice"})
    members: int = field(default=5, metadata={"help": "networks in the ensemble"})
    width: int = field(default=200, metadata={"help": "units of a layer"})
    layers: int = field(default=3, metadata={"help": "hidden layers"})
    updates: int = field(default=12_000, metadata={"help": "gradient steps"})
    batch_size: int = field(default=320, metadata={"help": "windows per gradient step"})
    longest_horizon: int = field(default=16, metadata={"help": "steps a window is imagined for at the end of training"})
    learning_rate: float = field(default=2e-3, metadata={"help": "at the start of the cosine"})
    family: str = field(default="state", metadata={"help": "what is modelled: state or camera"})
    cameras: list[str] | None = field(default=None, metadata={"help": "family=camera: names; null for all"})
    proprioception: bool = field(default=False, metadata={"help": "family=camera: the state is a sensor beside them"})
    frame_updates: int = field(default=10_000, metadata={"help": "family=camera: gradient steps on single frames"})
    frame_batch: int = field(default=32, metadata={"help": "family=camera: frames per such step"})
    augment: float = field(default=0.0, metadata={"help": "family=camera: share of frames altered, for real cameras"})
    skip_bad: bool = field(default=False, metadata={"help": "family=camera: leave episodes with bad video out"})
    allow_unlicensed: bool = field(default=False, metadata={"help": "train on data that state no licence"})

    def fit_config(self) -> FitConfig:
        """The curriculum climbs 1, 2, 4, ... to the longest horizon; of a camera model 4, 8, ..."""
        if self.family not in ("state", "camera"):
            raise ConfigError(f"family={self.family!r}: state or camera")
        if not 0 <= self.augment <= 1:
            raise ConfigError(f"augment={self.augment}: a share between 0 and 1 is needed")
        if self.longest_horizon < 1 or self.longest_horizon & (self.longest_horizon - 1):
            raise ConfigError(f"longest_horizon={self.longest_horizon}: a power of two is needed")
        if self.members < 2:
            raise ConfigError(f"members={self.members}: at least 2, or nothing tells how far they disagree")
        for name in ("updates", "batch_size", "width", "layers", "frame_updates", "frame_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a positive number is needed")
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"learning_rate={self.learning_rate}: a number between 0 and 1 is needed")
        horizons = tuple(2**power for power in range(self.longest_horizon.bit_length()))
        if self.family == "camera":
            # One step further codes differ by little more than their pixels' noise: nothing is learnt from that.
            horizons = tuple(h for h in horizons if h >= 4) or horizons[-1:]
        return FitConfig(
            updates=self.updates,
            batch_size=self.batch_size,
            horizons=horizons,
            learning_rate=self.learning_rate,
            evaluate_every=max(1, self.updates // 20),
        )

    def frame_config(self) -> FitConfig:
        """Training of the coders: no step is imagined."""
        return FitConfig(
            updates=self.frame_updates,
            batch_size=self.frame_batch,
            horizons=(0,),
            learning_rate=self.learning_rate,
            evaluate_every=max(1, self.frame_updates // 20),
        )


def train(config: TrainConfig) -> TrainedModel:
    """Fit, calibrate and save one model; what an interrupted call left behind is taken up.

    Raises:
        DataError: the dataset is missing, damaged or too small to split, or states no licence.
        ConfigError: a setting is out of range, or the output holds the remains of another fit.
    """
    fit_config = config.fit_config()
    usable_device(config.device)
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    dataset = open_dataset(config.dataset, check_videos=config.family == "state")
    if (finished := _finished(config, dataset)) is not None:
        return finished
    stated_licence(dataset, config.allow_unlicensed)  # refused before it costs anything
    _say_what_is_missing(dataset)
    split = split_episodes(dataset, config.seed)
    torch.manual_seed(config.seed)
    model = _fresh_model(config, dataset).to(config.device)
    work = Path(f"{config.output}.partial")
    _claim(work, config, dataset)
    left_out: Mapping[int, str] = {}
    coding: FitProgress | None = None
    if isinstance(model, CameraWorld):
        cache = _cache_with_bar(config, dataset, model, work)
        left_out = cache.bad
        episodes, coding = _embedded(config, dataset, split, model, cache, work)
    else:
        episodes = {name: list(dataset.episodes(getattr(split, name))) for name in PARTS}
    fitted = fit_model(model, episodes, fit_config, config.seed, config.device, work / "checkpoint.safetensors")
    manifest = _manifest(config, dataset, split, episodes["train"], fitted, coding, left_out)
    trained = replace(fitted.trained, manifest=manifest)
    folder = Path(config.output)
    trained.save(folder)
    write_json(folder / "result.json", _result(trained, fitted))
    shutil.rmtree(work)
    return trained


def _say_what_is_missing(dataset: Dataset) -> None:
    """What logs of other makers do not hold, and what is odd about them."""
    unrecorded = dataset.manifest.get("recipe", {}).get("unrecorded", [])
    words = {"reward": "reward, which will be 0 (reward_fn=...)", "termination": "termination (termination_fn=...)"}
    for name in unrecorded:
        print(f"note: {dataset.folder} holds no {words.get(name, name)}: give the environment your own function")
    for note in dataset.manifest.get("notes", []):
        print(f"note: {dataset.folder}: {note} (datasets/import_logs.py shift_actions=... moves them)")


def main(config: TrainConfig) -> None:
    """Fit a world model to a recorded dataset."""
    complete = (Path(config.output) / "result.json").exists()
    trained = train(config)
    if complete:
        print(f"model: {config.output} is complete already (delete it to train again)")
        return
    result = read_json(Path(config.output) / "result.json")
    print("\nopen-loop nRMSE on validation episodes")
    for horizon, error in result["validation_error"].items():
        print(f"  after {horizon:>4} imagined steps {error:>18.4f}")
    print(f"  trusted for {int(trained.calibration.horizon)} steps; {result['megaflop_per_step']:.2f} MFLOP a step")
    print(f"model: {config.output}")


def _identity(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """What makes two fits the same fit: data and settings, but neither place nor machine."""
    beside = (
        "output",
        "threads",
        "device",
        "allow_unlicensed",
        *(_CAMERA_SETTINGS if config.family == "state" else ()),
    )
    settings = {name: value for name, value in asdict(config).items() if name not in beside}
    return settings | {"dataset": dataset.digest()}


def _finished(config: TrainConfig, dataset: Dataset) -> TrainedModel | None:
    """The model that an earlier call of the same fit has written, if there is one."""
    folder = Path(config.output)
    if not (folder / "result.json").exists():
        return None
    trained = load_model(folder)
    if trained.manifest.get("identity") != _identity(config, dataset):
        raise ConfigError(f"{folder} holds another model: delete it, or choose another output")
    return trained


def _claim(work: Path, config: TrainConfig, dataset: Dataset) -> None:
    """Mark the working folder as this fit's own, so that no other fit is continued by mistake."""
    identity = _identity(config, dataset)
    path = work / "fit.json"
    if path.exists() and read_json(path) != identity:
        raise ConfigError(
            f"{work} holds an unfinished fit with other settings or data: finish it with its own settings, delete it, "
            "or choose another output"
        )
    write_json(path, identity)


def _fresh_model(config: TrainConfig, dataset: Dataset) -> StateEnsemble | CameraWorld:
    members, width, layers = config.members, config.width, config.layers
    if config.family == "camera":
        names = tuple(config.cameras or ())
        shape = CameraWorldConfig(names, config.proprioception, members=members, width=width, layers=layers)
        model = CameraWorld(dataset.task, shape)
        model.coders.augmentation = Augmentation(share=config.augment)
        return model
    if dataset.task.observation_space.size == 0:
        raise ModelError(f"{config.dataset}: records no state observation, which the state model needs: family=camera")
    return StateEnsemble(dataset.task, StateEnsembleConfig(members=members, width=width, layers=layers))


def _cache_with_bar(config: TrainConfig, dataset: Dataset, model: CameraWorld, work: Path) -> FrameCache:
    with tqdm(total=len(dataset), desc="decode", unit="episode", file=sys.stderr, mininterval=0.5) as bar:
        names = [camera.name for camera in model.cameras]
        return cache_frames(dataset, names, work / "frames", config.skip_bad, lambda done: bar.update(done - bar.n))


def _embedded(
    config: TrainConfig, dataset: Dataset, split: Split, model: CameraWorld, cache: FrameCache, work: Path
) -> tuple[dict[str, list[Episode]], FitProgress | None]:
    """Train the coders, and put embeddings in the place of observations; bad episodes are left out.

    A model is selected and calibrated on episodes in which no camera was missing.

    Returns:
        The episodes of each part, and what training the coders came to; None without frames to train on.

    Raises:
        DataError: a part of the split has no episode left.
    """
    numbers = {name: [i for i in getattr(split, name) if i not in cache.bad] for name in PARTS}
    plain = {name: list(dataset.episodes(chosen)) for name, chosen in numbers.items()}
    batches = {
        name: FrameBatches.of(plain[name], cache.frames, cache.rows(numbers[name]), config.device)
        for name in ("train", "validation")
        if numbers[name]
    }
    coding = None
    if len(batches) == 2:
        plan = config.frame_config()
        with fit_bar("frames", plan.updates, "error") as (advance, show):
            path = work / "coders.safetensors"
            coding = fit_coders(model, batches["train"], batches["validation"], plan, config.seed, path, advance, show)
    episodes = {name: embed_episodes(model, plain[name], map(cache.of, numbers[name]), config.device) for name in PARTS}
    for name in PARTS:
        whole = [episode for episode in episodes[name] if is_whole(episode)]
        if not whole:
            raise DataError(f"{config.dataset}: no episode with every camera is left for {name}; record more episodes")
        if name != "train":
            episodes[name] = whole
    return episodes, coding


def _manifest(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    episodes: Sequence[Episode],
    fitted: FittedModel,
    coding: FitProgress | None,
    left_out: Mapping[int, str],
) -> dict[str, Any]:
    progress = fitted.progress
    returns: dict[str, list[float]] = {}
    for episode in episodes:
        # An episode that was cut when the recording had enough steps has no return to compare.
        if episode.terminated or len(episode) >= dataset.task.max_episode_steps:
            earned = round(float(episode.rewards.sum(dtype=np.float64)), 4)
            returns.setdefault(episode.behaviour or "recorded", []).append(earned)
    return {
        "commands": [dataset.manifest.get("command", ""), _command()],
        "seed": config.seed,
        "identity": _identity(config, dataset),
        "licence": stated_licence(dataset, config.allow_unlicensed),
        "dataset": {
            "sha256": dataset.digest(),
            "episodes": len(dataset),
            "steps": dataset.num_steps,
            "split": {name: len(getattr(split, name)) for name in PARTS},
            "left_out": {str(index): reason for index, reason in left_out.items()},
            "returns": dict(sorted(returns.items())),
            "unrecorded": list(dataset.manifest.get("recipe", {}).get("unrecorded", [])),
            "versions": dataset.manifest.get("versions", {}),
        },
        "fit": {
            "updates": progress.update,
            "best_update": progress.best_update,
            "validation_error": progress.best_error,
            "energy_score_by_temperature": fitted.temperatures,
            **({} if coding is None else {"frames": {"updates": coding.update, "error": coding.best_error}}),
            "wall_seconds": round(progress.seconds + (coding.seconds if coding else 0.0), 1),
            "cpu_seconds": round(progress.cpu_seconds + (coding.cpu_seconds if coding else 0.0), 1),
        },
        "versions": {
            "wm_gym": metadata.version("wm_gym"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def _command() -> str:
    """What was typed: this program, or one that fits models on its way."""
    mine = Path(sys.argv[0]).resolve() == Path(__file__).resolve()
    return " ".join(["python -m wm_gym.train" if mine else f"python {sys.argv[0]}", *sys.argv[1:]])


def _result(trained: TrainedModel, fitted: FittedModel) -> dict[str, Any]:
    progress, error = fitted.progress, fitted.error
    shown = [h for h in (1, 5, 10, 25, 50, 100, 200) if h <= len(error)]
    named = trained.model.named_parameters()
    networks = [p for name, p in named if p.dim() > 1 and not name.startswith("coders.")]  # nothing is drawn in a step
    return {
        "validation_error": {str(h): float(error[h - 1]) for h in shown},
        "best_error": progress.best_error,
        "updates": progress.update,
        "trusted_steps": int(trained.calibration.horizon),
        "megaflop_per_step": 2e-6 * sum(p.numel() for p in networks),
        "wall_seconds": trained.manifest["fit"]["wall_seconds"],
        "cpu_seconds": trained.manifest["fit"]["cpu_seconds"],
    }


if __name__ == "__main__":
    run_program(main, TrainConfig)
