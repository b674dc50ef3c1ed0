"""The README's forks, twins and gate run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("### Forks, twins")[2].partition("\n## ")[0]
PREPARED = """
import gymnasium, numpy as np, torch
from wm_gym.evaluation.actors import RandomActor
from wm_gym.evaluation.rollouts import physical_episodes
torch.set_num_threads(1)
real_env = gymnasium.make("Reacher-v5", max_episode_steps=8)
brake = lambda observation: np.zeros(2, np.float32)
from wm_gym.types import BoxSpec
episodes = physical_episodes(real_env, RandomActor(BoxSpec((-1, -1), (1, 1)), 0), range(31), 0.02)
"""
TRIED = """
robot.reset(seed=99)
info = robot.step(np.zeros(2, np.float32))[4]
print(len(twins.partings), sorted(info["gate"]))
shared, own = (forks.reset(seed=seed, options={"state": state}) for seed in (None, 1))
"""


def test_the_examples_run_as_they_stand(tmp_path):
    examples = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    assert len(examples) == 2
    code = "\n".join([PREPARED, *examples, TRIED])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"\(.*(Parting|None).*\)\n2 \['acting', 'alarm', .*'score', 'threshold'\]\n$", done.stdout, re.DOTALL
    )
    assert (tmp_path / "gate.json").is_file()
