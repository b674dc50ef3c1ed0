"""The policies behind the README's learning curves: each earns in MuJoCo what its table says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wm_gym.evaluation.actors import PolicyActor
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.rollouts import episode_returns, physical_episodes
from wm_gym.physics.tasks import make_physics, task_spec
from wm_gym.policies import load_policy

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LEARNT = [
    (content["task"], row)
    for path in sorted((BENCHMARKS / "results").glob("learning_*.json"))
    for content in [json.loads(path.read_text(encoding="utf-8"))]
    for row in content["inside"]["seeds"]
]


@pytest.mark.parametrize(("name", "row"), LEARNT, ids=[f"{name}-{row['seed']}" for name, row in LEARNT])
def test_a_policy_earns_what_its_table_says(name, row):
    task = replace(task_spec(name), cameras=())
    actor = PolicyActor(load_policy(BENCHMARKS / "policies" / name / str(row["seed"])), task.action_space)
    env = make_physics(task)
    found = episode_returns(physical_episodes(env, actor, [FIRST_SEED, FIRST_SEED + 1], task.control_dt, "ppo"))
    env.close()
    np.testing.assert_allclose(found, row["returns"][:2], rtol=1e-3, atol=1e-3)


def test_every_policy_stands_in_a_table():
    kept = {(path.parent.name, path.name) for path in (BENCHMARKS / "policies").glob("*/*")}
    assert kept == {(name, str(row["seed"])) for name, row in LEARNT}
