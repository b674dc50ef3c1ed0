"""Tiny folders of every kind that wm_gym writes, each whole, and made in a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from wm_gym.data.writer import DatasetWriter
from wm_gym.evaluation.trajectories import Recorded, write_trajectories
from wm_gym.files import file_hash, write_json
from wm_gym.models.camera_world import CameraWorld, CameraWorldConfig
from wm_gym.models.state_ensemble import StateEnsemble, StateEnsembleConfig
from wm_gym.models.trained import StartStates, TrainedModel
from wm_gym.models.trust import Calibration, Support
from wm_gym.models.world_model import WorldModel
from wm_gym.policies.policy import Policy
from wm_gym.types import BoxSpec, CameraSpec, Episode, ObservationMap, TaskSpec

TASK = TaskSpec(
    name="toy",
    observation_space=BoxSpec((-float("inf"),) * 3, (float("inf"),) * 3),
    action_space=BoxSpec((-1.0, -2.0), (1.0, 2.0)),
    control_dt=0.05,
    max_episode_steps=5,
    observation_map=ObservationMap(sin_cos=((0, 1),), angles=(2,)),
)
"""A robot that never was: three observations, two actions."""
_STEPS, _CAMERA = 5, CameraSpec("top", width=24, height=16)


def make_episode(number: int, frames: bool = False) -> Episode:
    """Five steps of noise; the same number gives the same episode."""
    rng = np.random.default_rng(number)
    observations, actions, rewards = (
        rng.normal(size=shape).astype(np.float32) for shape in ((_STEPS + 1, 3), (_STEPS, 2), (_STEPS,))
    )
    seen = rng.integers(0, 255, (_STEPS + 1, 16, 24, 3), dtype=np.uint8)
    return Episode(
        observations=observations,
        actions=actions.clip(-1, 1),
        rewards=rewards,
        terminated=number % 2 == 1,
        truncated=number % 2 == 0,
        control_dt=TASK.control_dt,
        frames={"top": seen} if frames else {},
        qpos=rng.normal(size=(_STEPS + 1, 4)),
        qvel=rng.normal(size=(_STEPS + 1, 4)),
        behaviour="random",
        seed=number,
    )


def open_recording(folder: Path) -> DatasetWriter:
    """Begin the recording of :func:`write_dataset`, or go on with it."""
    task = replace(TASK, cameras=(_CAMERA,))
    return DatasetWriter(folder, task, {"seed": 0}, "CC0-1.0", {"toy": "1"}, "python record.py")


def write_dataset(folder: Path, episodes: int = 3, finish: bool = True) -> None:
    """A dataset with a camera; not finished, its episodes stay staged beside ``folder``."""
    writer = open_recording(folder)
    for number in range(episodes):
        writer.stage(f"ep-{number}", make_episode(number, frames=True))
    if finish:
        writer.finish([f"ep-{number}" for number in range(episodes)])


def make_model(seed: int = 0) -> TrainedModel:
    """A state ensemble of eight units; it has learnt nothing."""
    torch.manual_seed(seed)  # models draw their weights from torch's own generator
    return _trained(StateEnsemble(TASK, StateEnsembleConfig(members=2, width=8, layers=1, head_width=4)), seed)


def make_camera_model(seed: int = 0) -> TrainedModel:
    """A camera model of four units; it has learnt nothing."""
    torch.manual_seed(seed)
    shape = CameraWorldConfig(
        size=3,
        points=1,
        channels=(2, 3),
        memory=4,
        members=2,
        width=4,
        layers=1,
        judge_width=4,
        judge_layers=1,
        context=1,
    )
    return _trained(CameraWorld(replace(TASK, cameras=(_CAMERA,)), shape), seed)


def _trained(world: WorldModel, seed: int) -> TrainedModel:
    """The model with starts, support and calibration drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    size, moments = world.embedding_size, world.context + 1
    states, actions = torch.randn(50, size, generator=generator), torch.rand(50, 2, generator=generator)
    starts = states[:40].reshape(-1, moments, size)
    between = actions[: len(starts) * world.context].reshape(len(starts), world.context, 2)
    manifest = {
        "licence": "CC0-1.0",
        "commands": ["python record.py", "python fit.py"],
        "seed": seed,
        "dataset": {"sha256": "0" * 64, "steps": 15, "origin": {"robot": "toy"}},
        "versions": {"wm_gym": "0.1.0"},
    }
    return TrainedModel(
        world.eval(),
        StartStates(starts[:5], between[:5], starts, between),
        Support.measure(states, actions),
        replace(Calibration.proportional(0.5, 7), horizon=torch.tensor(5)),
        manifest,
    )


def make_policy(seed: int = 0) -> Policy:
    """A policy of the toy with one hidden layer; it has learnt nothing."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "mean": torch.zeros(3),
        "scale": torch.ones(3),
        "low": torch.tensor(TASK.action_space.low),
        "high": torch.tensor(TASK.action_space.high),
        "weight.0": torch.randn(4, 3, generator=generator),
        "bias.0": torch.zeros(4),
        "weight.1": torch.randn(2, 4, generator=generator),
        "bias.1": torch.zeros(2),
    }
    model = {"model.safetensors": "0" * 64}
    details = {"algorithm": "ppo", "world": "imagination", "seed": 4, "steps": 100, "task": "toy", "model": model}
    return Policy(tensors, "tanh", squash=False, details=details)


def write_agent(folder: Path) -> None:
    """What ``agents/train_agent.py`` leaves, as far as it is checked."""
    policy = make_policy()
    policy.save(folder / "policy")
    made = {"command": "python agents/train_agent.py", "settings": {"seed": 4}, "versions": {"wm_gym": "0.1.0"}}
    write_json(folder / "result.json", {**policy.details, **made})


def write_report(folder: Path) -> None:
    """Two episodes of one policy in both worlds, and what a report says of their returns."""
    folder.mkdir(parents=True, exist_ok=True)
    physical = [replace(make_episode(number), behaviour="") for number in range(2)]
    imagined = [replace(episode, rewards=episode.rewards + 1) for episode in physical]
    records = [
        Recorded("closed_loop", "physics", "PPO", physical),
        Recorded("closed_loop", "imagination", "PPO", imagined),
    ]
    write_trajectories(folder / "trajectories.parquet", records)
    means = [float(np.mean([episode.rewards.sum() for episode in world])) for world in (physical, imagined)]
    contender = {"name": "PPO", "physical": {"value": means[0]}, "imagined": {"value": means[1]}}
    values = {
        "headline": "It works.",
        "closed_loop": {"contenders": [contender]},
        "data": {"sha256": "0" * 64, "licence": "CC0-1.0"},
        "identity": {"model": {"sha256": "1" * 64}, "commands": [{}], "versions": {"a": "1"}, "seeds": {"a": 1}},
    }
    write_json(folder / "report.json", values)
    write_json(folder / "result.json", {"task": "toy"})
    (folder / "report.html").write_text("<p>It works.</p>", encoding="utf-8")
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
    write_json(folder / "MANIFEST.json", {"schema_version": 1, "kind": "report", "files": files})
