"""Let a camera agent act on the robot, learn from what it saw, and train it again: latent imagination, in rounds.

python agents/train_camera_rounds.py model=outputs/inverted_pendulum/camera dataset=outputs/inverted_pendulum/video \
    output=outputs/inverted_pendulum/camera_rounds

What a policy does with a model's errors no recording made before it can show. Every round records a few thousand steps
of the last policy, seen through the camera, and fits dynamics and filter further on all that was seen; the coder, which
costs most, stays as it is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from wm_gym.config import REQUIRED, claim_output, is_complete, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.frames import cache_frames
from wm_gym.data.segments import split_episodes
from wm_gym.data.writer import DatasetWriter
from wm_gym.envs.imagination_config import ImaginationConfig
from wm_gym.errors import ConfigError
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.statistics import mean_interval
from wm_gym.files import read_json, write_json
from wm_gym.fit_model import PARTS, fit_model
from wm_gym.models import TrainedModel, load_model
from wm_gym.models.camera_world import CameraWorld
from wm_gym.models.fitting import FitConfig
from wm_gym.models.frame_fitting import embed_episodes, is_whole
from wm_gym.physics.collect import Recipe, record_episodes
from wm_gym.policies import load_policy
from wm_gym.policies.latent_training import LatentLearnConfig, learn_in_latents, try_everywhere
from wm_gym.policies.policy import Policy
from wm_gym.policies.watching import WatchedRobot, WatchingPolicy
from wm_gym.train import TrainConfig
from wm_gym.types import Episode

_ACTING = {"learnt": 0.7, "noisy_learnt": 0.3}
_RATE, _SELECTED = 1e-3, 25  # half of a first fit's learning rate and selection horizon: it goes on from there
_KEPT = {0: "validation", 1: "calibration"}  # of every ten fresh episodes, by their places

Embedded = dict[Path, dict[int, Episode]]
"""Recording -> its good episodes as embeddings: the coder stays as it is, so once is enough."""


@dataclass
class Settings:
    """Settings of one camera agent learnt in rounds."""

    output: str = field(default=REQUIRED, metadata={"help": "folder to write"})
    model: str = field(default=REQUIRED, metadata={"help": "folder of the camera model to begin with"})
    dataset: str = field(default=REQUIRED, metadata={"help": "folder of the recording that it was fitted to"})
    steps: int = field(default=20_000, metadata={"help": "real steps of all rounds together"})
    rounds: int = field(default=5, metadata={"help": "of recording, fitting and training"})
    seed: int = field(default=0, metadata={"help": "of everything"})
    updates: int = field(default=2_000, metadata={"help": "gradient steps of each round's fit"})
    batch_size: int = field(default=96, metadata={"help": "windows per gradient step"})
    agent_steps: int = field(default=1_000_000, metadata={"help": "imagined steps of each training of PPO"})
    num_envs: int = field(default=256, metadata={"help": "imagined rollouts side by side"})
    start: str = field(default="any", metadata={"help": "imagination begins at initial or any recorded moments"})
    horizon: int | None = field(default=100, metadata={"help": "imagined steps; null: the task's episode limit"})
    gamma: float = field(default=0.99, metadata={"help": "discount of a step in imagination"})
    noise: float = field(default=0.7, metadata={"help": "on what is filtered for it, see train_camera_agent.py"})
    episodes: int = field(default=20, metadata={"help": f"of the trial after each round, seeds from {FIRST_SEED}"})
    threads: int = field(default=1, metadata={"help": "torch threads; 0 leaves torch's own choice"})


def main(settings: Settings) -> None:
    """Train a camera agent in rounds of acting, fitting and imagining."""
    output = Path(settings.output)
    check(settings)
    begun, recorded = load_model(settings.model), open_dataset(settings.dataset)
    check_model(settings, begun, recorded)
    beside = ("output", "threads", "model", "dataset")
    identity = {name: value for name, value in asdict(settings).items() if name not in beside}
    claim_output(output, identity | {"model": dict(begun.manifest["files"]), "dataset": recorded.digest()})
    if is_complete(output, {"settings": identity}):
        return
    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    print(
        f"learn {begun.task.name} from {recorded.num_steps:,} recorded and {settings.steps:,} further steps in "
        f"{settings.rounds} rounds, each with {settings.updates:,} updates and {settings.agent_steps:,} imagined steps",
        flush=True,
    )
    curve: list[dict[str, Any]] = []
    embedded: Embedded = {}
    for number in range(settings.rounds + 1):
        folder = output / f"round_{number}"
        if not (folder / "round.json").exists():
            write_json(folder / "round.json", play_round(settings, begun, recorded, embedded, number, output))
        shutil.rmtree(folder / "agent.partial", ignore_errors=True)
        curve.append(read_json(folder / "round.json"))
        print(f"{curve[-1]['steps']:>8,} real steps: {curve[-1]['return']['value']:.2f} in MuJoCo from the camera")
    result = {
        "settings": identity,
        "task": begun.task.name,
        "seed": settings.seed,
        "real_steps": recorded.num_steps + settings.steps,
        "curve": curve,
        "wall_seconds": round(sum(point["seconds"] for point in curve), 1),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_json(output / "result.json", result)
    print(f"model and agent: {output / f'round_{settings.rounds}'}")


def play_round(
    settings: Settings, begun: TrainedModel, recorded: Dataset, embedded: Embedded, number: int, output: Path
) -> dict[str, Any]:
    """Record, fit further, train and try: the trial's figures. Round 0 trains in the model that is there."""
    started, folder = time.perf_counter(), output / f"round_{number}"
    trained = begun
    if number:
        earlier = output / f"round_{number - 1}"
        before = begun if number == 1 else load_model(earlier / "model")
        record(settings, before, load_policy(earlier / "policy"), number, folder / "data")
        fresh = [open_dataset(output / f"round_{n}" / "data") for n in range(1, number + 1)]
        if not (folder / "model").exists():
            fit_further(settings, before, [recorded, *fresh], embedded, folder)
        trained = load_model(folder / "model")
    learning = LatentLearnConfig(
        settings.agent_steps,
        settings.num_envs,
        1000 * settings.seed + number,
        settings.start,
        settings.horizon,
        settings.gamma,
        settings.noise,
    )
    seconds = time.perf_counter() - started
    learnt = learn_in_latents(trained, learning, folder / "agent.partial", label=f"round {number}: train")
    learnt.policy.save(folder / "policy")
    started = time.perf_counter()
    returns = try_everywhere(trained, learnt.policy, settings.episodes, FIRST_SEED, ("physical", "imagined"))
    generator = np.random.default_rng([settings.seed, number])
    return {
        "steps": recorded.num_steps + steps_until(settings, number),
        "seconds": round(seconds + learnt.wall_seconds + time.perf_counter() - started, 1),
        "return": asdict(mean_interval(returns["physical"], generator)),
        "imagined": asdict(mean_interval(returns["imagined"], generator)),
        "physical": [round(float(value), 4) for value in returns["physical"]],
    }


def record(settings: Settings, trained: TrainedModel, policy: Policy, number: int, folder: Path) -> None:
    """A dataset of the policy acting on what the camera shows."""
    task = replace(trained.task, cameras=trained.model.cameras)
    steps = steps_until(settings, number) - steps_until(settings, number - 1)
    seed = 1000 * settings.seed + number
    described = {"seed": seed, "num_steps": steps, "round": number}
    versions = {name: installed_versions()[name] for name in ("mujoco", "gymnasium")}
    writer = DatasetWriter(folder, task, described, "CC0-1.0", versions, command_line())
    if writer.finished:
        return
    for key in writer.staged():
        writer.discard(key)
    robot = WatchedRobot(task, trained)
    recipe = Recipe(steps, seed, _ACTING, {"learnt": lambda: WatchingPolicy(policy, robot)})
    with tqdm(total=steps, desc=f"round {number}: record", unit="step") as bar:
        keys = record_episodes(
            task,
            recipe,
            writer.stage,
            writer.discard,
            {},
            progress=lambda taken: bar.update(taken - bar.n),
            make=lambda _: robot,
        )
    writer.finish(keys)


def fit_further(
    settings: Settings, trained: TrainedModel, datasets: Sequence[Dataset], embedded: Embedded, folder: Path
) -> None:
    """Fit the model on from where it stands, with all that was recorded; of the fresh episodes two in ten are kept."""
    model = trained.model
    assert isinstance(model, CameraWorld)
    episodes: dict[str, list[Episode]] = {name: [] for name in PARTS}
    for dataset in datasets:
        if dataset.folder not in embedded:
            embedded[dataset.folder] = embed(model, dataset, folder / "frames")
    first, *fresh = datasets
    split = split_episodes(first, int(trained.manifest.get("seed", 0)))
    for name in PARTS:
        numbered = embedded[first.folder]
        episodes[name] += [numbered[number] for number in getattr(split, name) if number in numbered]
    acted = [episode for dataset in fresh for episode in embedded[dataset.folder].values()]
    for place, episode in enumerate(acted):
        episodes[_KEPT.get(place % 10, "train")].append(episode)
    for name in _KEPT.values():
        episodes[name] = [episode for episode in episodes[name] if is_whole(episode)]
    model.requires_grad_(True)
    model.coders.requires_grad_(False)
    checkpoint = folder / "checkpoint.safetensors"
    fitted = fit_model(model.train(), episodes, fit_config(settings), settings.seed, checkpoint=checkpoint)
    seen = {
        "sha256": [dataset.digest() for dataset in datasets],
        "steps": sum(dataset.num_steps for dataset in datasets),
        "episodes": sum(len(dataset) for dataset in datasets),
    }
    progress, manifest = fitted.progress, dict(trained.manifest)
    manifest["dataset"] = {**manifest["dataset"], "rounds": seen, "steps": seen["steps"], "episodes": seen["episodes"]}
    manifest["commands"] = list(dict.fromkeys([*manifest.get("commands", []), command_line()]))
    manifest["fit"] = {
        "first": manifest.get("fit", {}).get("first", manifest.get("fit", {})),
        "updates": progress.update,
        "best_update": progress.best_update,
        "validation_error": progress.best_error,
        "wall_seconds": round(progress.seconds, 1),
        "cpu_seconds": round(progress.cpu_seconds, 1),
    }
    replace(fitted.trained, manifest=manifest).save(folder / "model")
    checkpoint.unlink(missing_ok=True)


def fit_config(settings: Settings) -> FitConfig:
    """As a camera model's first fit is done, but gentler."""
    first = TrainConfig(
        dataset="",
        output="",
        family="camera",
        updates=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=_RATE,
    ).fit_config()
    return replace(first, evaluate_every=max(1, settings.updates // 10), selection_horizon=_SELECTED)


def embed(model: CameraWorld, dataset: Dataset, work: Path) -> dict[int, Episode]:
    """The episodes of a recording by their numbers, as embeddings; what was decoded for it is removed.

    Bad ones are left out: the first fit has named them, and a pole that hardly moves looks like a frozen camera.
    """
    cache = cache_frames(dataset, [camera.name for camera in model.cameras], work, skip_bad=True)
    good = [number for number in range(len(dataset)) if number not in cache.bad]
    found = embed_episodes(model, list(dataset.episodes(good)), map(cache.of, good))
    shutil.rmtree(work)
    return dict(zip(good, found, strict=True))


def steps_until(settings: Settings, number: int) -> int:
    """Further real steps after so many rounds."""
    return round(settings.steps * number / settings.rounds)


def check(settings: Settings) -> None:
    """Raise ``ConfigError`` on what cannot be run."""
    if settings.rounds < 1 or settings.steps < 100 * settings.rounds:
        raise ConfigError(f"steps={settings.steps}, rounds={settings.rounds}: at least 100 steps for each round")
    if settings.episodes < 2:
        raise ConfigError(f"episodes={settings.episodes}: at least 2 are needed for an interval")
    for name in ("agent_steps", "num_envs"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: a positive number is needed")
    if settings.seed < 0 or settings.noise < 0 or not 0 <= settings.gamma <= 1:
        raise ConfigError(
            f"seed={settings.seed}, noise={settings.noise}, gamma={settings.gamma}: none below 0, and gamma at most 1"
        )
    fit_config(settings)
    ImaginationConfig(start=settings.start, horizon=settings.horizon).check(("latent",))


def check_model(settings: Settings, trained: TrainedModel, recorded: Dataset) -> None:
    """Refuse a model without a camera, and a recording that is not its own."""
    if not trained.model.cameras or trained.task.env_id is None:
        raise ConfigError(f"model={settings.model}: a camera model of a robot in MuJoCo is needed")
    if "state" in trained.model.obs_types:
        raise ConfigError(f"model={settings.model}: it senses the state too, and only cameras are looked at here")
    learnt = dict(trained.manifest.get("dataset", {}))
    if "rounds" in learnt:
        raise ConfigError(
            f"model={settings.model}: it comes from rounds already; begin with the one that they began with"
        )
    if recorded.digest() != learnt.get("sha256"):
        raise ConfigError(f"dataset={settings.dataset}: not the recording that {settings.model} was fitted to")


if __name__ == "__main__":
    run_program(main, Settings)
