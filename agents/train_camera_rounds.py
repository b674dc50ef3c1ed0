"""Learn from recorded video, act on the robot from its camera, and learn again: SAC on latent states, in rounds.

python agents/train_camera_rounds.py model=outputs/inverted_pendulum/camera dataset=outputs/inverted_pendulum/video \
    output=outputs/inverted_pendulum/camera_rounds

Half of what the agent learns from are the recorded frames as the model filters them, the other half short branches that
the model imagines from there. What a policy does with a model's errors no recording made before it can show: in every
round it acts for a few thousand steps, and learns from these too. The model stays as it is. The agent that comes of it
is a moving average of the policy over the last thousand gradient steps.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.config import REQUIRED, is_complete, run_program
from wm_gym.data.episodes import Dataset, open_dataset
from wm_gym.data.frames import cache_frames
from wm_gym.envs import LatentObservation
from wm_gym.errors import ConfigError
from wm_gym.evaluation.camera_trial import show_trial, trial_figures
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.files import write_json
from wm_gym.models import TrainedModel, load_model
from wm_gym.models.camera_world import CameraWorld
from wm_gym.models.frame_fitting import embed_episodes, is_whole
from wm_gym.physics.pixels import make_pixels
from wm_gym.policies.latent_rounds import LatentRoundsConfig, learn_in_rounds
from wm_gym.policies.latent_training import try_everywhere
from wm_gym.types import Episode

METHOD = "SAC on filtered frames and short latent branches, its policy averaged"


@dataclass
class Settings:
    """Settings of one camera agent learnt in rounds."""

    output: str = field(default=REQUIRED, metadata={"help": "agent folder to write"})
    model: str = field(default=REQUIRED, metadata={"help": "folder of a camera model"})
    dataset: str = field(default=REQUIRED, metadata={"help": "folder of the recording that it was fitted to"})
    steps: int = field(default=20_000, metadata={"help": "real steps of all rounds together"})
    rounds: int = field(default=10, metadata={"help": "of acting and learning"})
    seed: int = field(default=0, metadata={"help": "of everything"})
    first_updates: int = field(default=15_000, metadata={"help": "gradient steps on the recording alone"})
    updates: int = field(default=6_000, metadata={"help": "gradient steps of each round"})
    branch: int = field(default=2, metadata={"help": "imagined steps of a branch"})
    imagined: int = field(default=20_000, metadata={"help": "transitions imagined for every thousand gradient steps"})
    real_share: float = field(default=0.5, metadata={"help": "of every batch; 1 imagines nothing"})
    gamma: float = field(default=0.99, metadata={"help": "discount of a step"})
    tried: int = field(default=5, metadata={"help": "episodes of the trial after each round"})
    episodes: int = field(default=20, metadata={"help": f"of the last trial, seeds from {FIRST_SEED}"})
    threads: int = field(default=1, metadata={"help": "torch threads; 0 leaves torch's own choice"})

    def loop(self) -> LatentRoundsConfig:
        """What the library's loop is asked for."""
        own = ("output", "model", "dataset", "episodes", "threads")
        return LatentRoundsConfig(**{name: value for name, value in asdict(self).items() if name not in own})


def main(settings: Settings) -> None:
    """Train a camera agent in rounds of learning and acting."""
    output, work, loop = Path(settings.output), Path(f"{settings.output}.partial"), settings.loop()
    loop.check()
    if settings.episodes < 2:
        raise ConfigError(f"episodes={settings.episodes}: at least 2 are needed for an interval")
    trained, recorded = load_model(settings.model), open_dataset(settings.dataset)
    check_model(settings, trained, recorded)
    beside = ("output", "threads", "model", "dataset")
    identity = {name: value for name, value in asdict(settings).items() if name not in beside}
    known = {"settings": identity, "method": METHOD, "model": dict(trained.manifest["files"])}
    if is_complete(output, known, work):
        return
    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    print(
        f"learn {trained.task.name} from {recorded.num_steps:,} recorded and {loop.steps:,} further steps in "
        f"{loop.rounds} rounds: {loop.all_updates:,} updates of SAC (some fifty a second on one core, acting included)",
        flush=True,
    )
    robot = LatentObservation(make_pixels(trained.task), trained)
    result = learn_in_rounds(loop, trained, embed(trained, recorded), robot, work)
    result.policy.save(output / "policy")
    result.learner.save(output / "sac.zip", exclude=["replay_buffer"])
    returns = try_everywhere(trained, result.policy, settings.episodes, FIRST_SEED)
    trial = trial_figures(returns, np.random.default_rng(settings.seed))
    record = {
        "settings": identity,
        "method": METHOD,
        "task": trained.task.name,
        "algorithm": "sac",
        "world": "imagination",
        "seed": settings.seed,
        "real_steps": recorded.num_steps + loop.steps,
        "steps": result.imagined,
        "trial": {"sac": trial},
        "curve": result.curve,
        "training_seconds": round(result.wall_seconds, 1),
        "wall_seconds": round(result.wall_seconds, 1),
        "model": dict(trained.manifest["files"]),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_json(output / "result.json", record)
    shutil.rmtree(work)
    show_curve(result.curve)
    show_trial(trial)
    print(f"agent: {output}")


def embed(trained: TrainedModel, dataset: Dataset) -> list[Episode]:
    """The whole episodes of a recording as embeddings; what was decoded for it is removed.

    Bad ones are left out, as the model's fit has named them and left them out.
    """
    model = trained.model
    assert isinstance(model, CameraWorld)
    with tempfile.TemporaryDirectory() as work:
        cache = cache_frames(dataset, [camera.name for camera in model.cameras], Path(work), skip_bad=True)
        good = [number for number in range(len(dataset)) if number not in cache.bad]
        found = embed_episodes(model, list(dataset.episodes(good)), map(cache.of, good))
    return [episode for episode in found if is_whole(episode)]


def check_model(settings: Settings, trained: TrainedModel, recorded: Dataset) -> None:
    """Refuse a model without a camera, and a recording that is not its own."""
    if not trained.model.cameras or trained.task.env_id is None:
        raise ConfigError(f"model={settings.model}: a camera model of a robot in MuJoCo is needed")
    if "state" in trained.model.obs_types:
        raise ConfigError(f"model={settings.model}: it senses the state too, and only cameras are looked at here")
    if recorded.digest() != dict(trained.manifest.get("dataset", {})).get("sha256"):
        raise ConfigError(f"dataset={settings.dataset}: not the recording that {settings.model} was fitted to")


def show_curve(curve: list[dict[str, Any]]) -> None:
    """The return of each round's policy."""
    print(f"\n{'real steps':>10}{'MuJoCo, from the camera':>28}")
    for point in curve:
        print(f"{point['steps']:>10,}{float(np.mean(point['physical'])):>28.2f}")


if __name__ == "__main__":
    run_program(main, Settings)
