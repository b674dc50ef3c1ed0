"""The policies behind the README's learning curves, and those that wait for further seeds: each earns what is said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wm_gym.envs import LatentObservation
from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.learning import read_learner
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.rollouts import episode_returns, physical_episodes
from wm_gym.models import load_model
from wm_gym.physics.camera import why_no_camera
from wm_gym.physics.pixels import make_pixels
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies import load_policy
from wm_gym.policies.latent_training import latent_returns

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LEARNT = [
    (path.stem.removeprefix("learning_"), content["task"], row)
    for path in sorted((BENCHMARKS / "results").glob("learning_*.json"))
    for content in [json.loads(path.read_text(encoding="utf-8"))]
    for row in content["inside"]["seeds"]
]
SEEN = [
    row
    for row in json.loads((BENCHMARKS / "results" / "camera_inverted_pendulum.json").read_text(encoding="utf-8"))[
        "rows"
    ]
    if row["world"] == "imagination"
]
# Where a pole falls at all, a rounding moves the moment: its episodes are not repeated one by one.
STEADY = [row for row in SEEN if len(set(row["episode_returns"])) == 1]
UNFINISHED = sorted(path.parent for path in (BENCHMARKS / "unfinished").glob("*/*/policy"))


@pytest.mark.parametrize(("name", "robot", "row"), LEARNT, ids=[f"{name}-{row['seed']}" for name, _, row in LEARNT])
def test_a_policy_earns_what_its_table_says(name, robot, row):
    earns(BENCHMARKS / "policies" / name / str(row["seed"]), robot, row["returns"][:2])


@pytest.mark.parametrize("folder", UNFINISHED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_training_that_waits_for_further_seeds_earns_what_it_says(folder):
    learner = read_learner(folder)
    assert folder.name.endswith(f"_{learner.seed}")
    earns(folder / "policy", folder.parent.name, learner.returns[:2])


@pytest.mark.skipif(why_no_camera() is not None, reason="no off-screen drawing here")
@pytest.mark.parametrize("row", STEADY, ids=lambda row: f"seed {row['seed']}")
def test_a_pole_that_never_fell_stands_again(row):
    trained = load_model("inverted_pendulum_camera")
    policy = load_policy(BENCHMARKS / "policies" / "camera_inverted_pendulum" / str(row["seed"]))
    env = LatentObservation(make_pixels(trained.task), trained)
    found = latent_returns(env, policy, 1, FIRST_SEED)
    env.close()
    np.testing.assert_allclose(found, row["episode_returns"][:1])


def earns(folder, robot, returns):
    task = replace(task_spec(robot), cameras=())
    actor = PolicyActor(load_policy(folder), task.action_space)
    env = make_physics(task)
    found = episode_returns(physical_episodes(env, actor, [FIRST_SEED, FIRST_SEED + 1], task.control_dt, "ppo"))
    env.close()
    np.testing.assert_allclose(found, returns, rtol=1e-3, atol=1e-3)


def test_every_policy_stands_in_a_table():
    kept = {(path.parent.name, path.name) for path in (BENCHMARKS / "policies").glob("*/*")}
    seen = {("camera_inverted_pendulum", str(row["seed"])) for row in SEEN}
    assert kept == seen | {(name, str(row["seed"])) for name, _, row in LEARNT}
