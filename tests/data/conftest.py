"""Tiny recordings with known numbers."""

import numpy as np
import pytest

from wm_gym.data.writer import DatasetWriter
from wm_gym.types import BoxSpec, CameraSpec, Episode, TaskSpec

RECIPE = {"seed": 7, "num_steps": 20, "behaviours": {"random": 0.5, "smooth": 0.5}}


@pytest.fixture(scope="session")
def film():
    """``film(n, phase)`` -> (n, 16, 24, 3): a smooth picture that moves, so that every frame differs from the next."""

    def make(count, phase=0.0):
        y, x = np.mgrid[:16, :24]
        waves = [128 + 90 * np.sin(x / 6 + y / 9 + 0.4 * t + phase) for t in range(count)]
        return np.repeat(np.stack(waves)[..., None], 3, axis=-1).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def make_task():
    def make(cameras=(), state=3, action=2):
        return TaskSpec(
            name="fake",
            observation_space=BoxSpec((-np.inf,) * state, (np.inf,) * state),
            action_space=BoxSpec((-1.0,) * action, (1.0,) * action),
            control_dt=0.02,
            max_episode_steps=50,
            cameras=tuple(CameraSpec(name, width=24, height=16) for name in cameras),
        )

    return make


@pytest.fixture(scope="session")
def make_episode(film):
    """Episode ``number``: observation d at step t is 1000 number + t + d / 10, the action its tenth, the reward -t."""

    def make(task, number, steps, terminated=False, behaviour="random", physics=True):
        row = np.arange(steps + 1, dtype=np.float64)
        state = 1000 * number + row[:, None] + np.arange(task.observation_space.size) / 10
        action = 100 * number + row[:-1, None] / 10 + np.arange(task.action_space.size)
        return Episode(
            observations=state.astype(np.float32),
            actions=action.astype(np.float32),
            rewards=-row[:-1].astype(np.float32),
            terminated=terminated,
            truncated=not terminated,
            control_dt=task.control_dt,
            frames={camera.name: film(steps + 1, number + i) for i, camera in enumerate(task.cameras)},
            qpos=1000 * number + row[:, None] + [1e-9, 2e-9] if physics else None,
            qvel=row[:, None] - 1e-9 if physics else None,
            behaviour=behaviour,
            seed=500 + number,
        )

    return make


@pytest.fixture(scope="session")
def make_writer():
    def make(folder, task, recipe=RECIPE, versions=None):
        return DatasetWriter(folder, task, recipe, "MIT", versions or {"mujoco": "3.12.0"}, "collect task=fake")

    return make


@pytest.fixture(scope="session")
def record(make_task, make_episode, make_writer):
    """``record(folder, lengths, cameras, ...)`` -> the finished dataset and the episodes that went in."""

    def run(folder, lengths=(4, 2, 3), cameras=(), state=3, action=2, physics=True):
        task = make_task(cameras, state, action)
        writer = make_writer(folder, task)
        episodes = []
        for number, steps in enumerate(lengths):
            behaviour = "smooth" if number % 2 else "random"
            episodes.append(make_episode(task, number, steps, number % 2 == 0, behaviour, physics))
            writer.stage(f"ep-{number}", episodes[-1])
        return writer.finish([f"ep-{number}" for number in range(len(lengths))]), episodes

    return run
