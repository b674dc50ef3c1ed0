"""Train an agent in the latent imagination of a camera model, and try it in MuJoCo from the camera.

python agents/train_camera_agent.py model=outputs/reacher/camera seed=0 output=outputs/reacher/camera_agent
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_gym.config import REQUIRED, is_complete, run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.camera_trial import show_trial, trial_figures
from wm_gym.evaluation.identity import command_line, describe_machine, installed_versions
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.files import write_json
from wm_gym.models import TrainedModel, load_model
from wm_gym.policies.latent_training import LatentLearnConfig, PixelLearner, learn_in_latents, try_everywhere

Attempt = Callable[[], dict[str, np.ndarray]]
METHODS = {"imagination": "PPO in latent imagination", "physics": "PPO with CnnPolicy in MuJoCo"}


@dataclass
class CameraAgentConfig:
    """Settings of one agent."""

    output: str = field(default=REQUIRED, metadata={"help": "agent folder to write"})
    model: str = field(default=REQUIRED, metadata={"help": "a camera model: shipped name or folder"})
    world: str = field(default="imagination", metadata={"help": "imagination, or physics for PPO on MuJoCo's frames"})
    steps: int | None = field(
        default=None, metadata={"help": "environment steps; null: 2,000,000, or in the physics as many as recorded"}
    )
    num_envs: int = field(default=256, metadata={"help": "imagined rollouts side by side"})
    seed: int = field(default=0, metadata={"help": "of weights, draws and rollouts"})
    start: str = field(default="initial", metadata={"help": "imagination begins at initial or any recorded moments"})
    horizon: int | None = field(default=None, metadata={"help": "imagined steps; null: the task's episode limit"})
    noise: float = field(
        default=0.0, metadata={"help": "on the codes that are filtered for it, in units of what a frame tells anew"}
    )
    gamma: float = field(default=0.97, metadata={"help": "discount of a step in imagination"})
    episodes: int = field(default=20, metadata={"help": f"of the trial, seeds from {FIRST_SEED}"})
    threads: int = field(default=0, metadata={"help": "torch threads; 0 leaves torch's own choice"})


def main(config: CameraAgentConfig) -> None:
    """Train an agent in the latent imagination of a camera model, and try it in MuJoCo from the camera."""
    output, work = Path(config.output), Path(f"{config.output}.partial")
    settings = {name: value for name, value in asdict(config).items() if name not in ("output", "model", "threads")}
    trained = load_model(config.model)
    if config.world not in ("imagination", "physics"):
        raise ConfigError(f"world={config.world!r}: imagination or physics")
    if not trained.model.cameras:
        raise ConfigError(f"model={config.model} looks through no camera: agents/train_agent.py is for state models")
    if config.episodes < 2:
        raise ConfigError(f"episodes={config.episodes}: at least 2 are needed for an interval")
    if is_complete(output, {"settings": settings, "model": dict(trained.manifest["files"])}, work):
        return
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    figures, attempt = (_imagine if config.world == "imagination" else _control)(config, trained, work)
    started = time.perf_counter()
    trial = trial_figures(attempt(), np.random.default_rng(config.seed))
    show_trial(trial)
    print(f"{'training':<44}{figures['training_seconds']:>9.0f}s   {figures['steps_per_second']:,.0f} steps/s")
    record = {
        "settings": settings,
        "method": METHODS[config.world],
        "task": trained.task.name,
        "algorithm": "ppo",
        "world": config.world,
        "seed": config.seed,
        "real_steps": trained.manifest["dataset"]["steps"] if config.world == "imagination" else figures["steps"],
        "trial": {"ppo": trial} if trial else {},
        **figures,
        "wall_seconds": round(figures["training_seconds"] + time.perf_counter() - started, 1),
        "model": dict(trained.manifest["files"]),
        "command": command_line(),
        "machine": describe_machine(),
        "versions": installed_versions(),
    }
    write_json(output / "result.json", record)
    shutil.rmtree(work)
    print(f"agent: {output}")


def _imagine(config: CameraAgentConfig, trained: TrainedModel, work: Path) -> tuple[dict[str, Any], Attempt]:
    """Train in latent imagination, to try the policy in both worlds."""
    steps = 2_000_000 if config.steps is None else config.steps
    plan = LatentLearnConfig(
        steps, config.num_envs, config.seed, config.start, config.horizon, config.gamma, config.noise
    )
    result = learn_in_latents(trained, plan, work)
    result.policy.save(Path(config.output) / "policy")
    figures: dict[str, Any] = {
        "steps": steps,
        "training_seconds": round(result.wall_seconds, 1),
        "steps_per_second": round(result.steps_per_second, 1),
    }
    return figures, lambda: try_everywhere(trained, result.policy, config.episodes, FIRST_SEED)


def _control(config: CameraAgentConfig, trained: TrainedModel, work: Path) -> tuple[dict[str, Any], Attempt]:
    """SB3's PPO with its CnnPolicy in MuJoCo, on as many frames as the model was given."""
    steps = int(trained.manifest["dataset"]["steps"]) if config.steps is None else config.steps
    learner = PixelLearner(trained.task, steps, config.seed)
    seconds = learner.learn(work)
    figures = {"steps": steps, "training_seconds": round(seconds, 1), "steps_per_second": round(steps / seconds, 1)}
    return figures, lambda: {"physical": learner.returns(config.episodes, FIRST_SEED)}


if __name__ == "__main__":
    run_program(main, CameraAgentConfig)
