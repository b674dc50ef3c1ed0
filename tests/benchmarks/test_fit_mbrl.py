"""The rival's program around a stand-in for mbrl-lib, whose seven networks each add a constant to what they see."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wm_gym.data.episodes import open_dataset
from wm_gym.evaluation.held_out import stack_windows
from wm_gym.evaluation.rival import read_rival, windows_identity

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "fit_mbrl.py"
INSTALLED = importlib.util.find_spec("mbrl") is not None
MODELS = """
import time
import torch

class Normalizer:
    mean, std = 0.0, 1.0
    def normalize(self, value):
        return (value - self.mean) / self.std

class GaussianMLP(torch.nn.Module):
    def __init__(self, inputs, outputs, device, layers, members, width, learn_logvar_bounds=False):
        super().__init__()
        self.hidden_layers = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())] * layers)
        self.change = 1e-3 * torch.arange(members, dtype=torch.float32)[:, None, None]
        self.outputs, self.elite_models = outputs, None
    def forward(self, given, use_propagation):
        assert not use_propagation and given.shape[0] == len(self.change)
        return self.change.expand(-1, given.shape[1], self.outputs), None

class OneDTransitionRewardModel:
    def __init__(self, model, target_is_delta, normalize, normalize_double_precision, num_elites):
        assert target_is_delta and normalize and isinstance(model.hidden_layers[0][1], torch.nn.SiLU)
        self.model, self.num_elites, self.input_normalizer = model, num_elites, Normalizer()
    def update_normalizer(self, batch):
        assert len(batch.obs) == len(batch.act) == len(batch.next_obs) == len(batch.rewards)

class ModelTrainer:
    def __init__(self, model, optim_lr, weight_decay):
        self.model = model
    def train(self, train, validation, num_epochs, callback, silent):
        for epoch in range(num_epochs):
            started = time.process_time()
            while time.process_time() - started < 0.02:
                pass
            callback(self.model, 0, epoch, 0.0, torch.zeros(7), torch.ones(7))
        self.model.model.elite_models = list(range(self.model.num_elites))
"""
TYPES = """
class TransitionBatch:
    def __init__(self, obs, act, next_obs, rewards, terminateds, truncateds):
        self.obs, self.act, self.next_obs, self.rewards = obs, act, next_obs, rewards
        self.terminateds, self.truncateds = terminateds, truncateds
"""
BUFFER = """
class TransitionIterator:
    def __init__(self, transitions, batch_size, *members, rng, shuffle_each_epoch=False):
        self.size = -(-len(transitions.obs) // batch_size)
    def __len__(self):
        return self.size
BootstrapIterator = TransitionIterator
"""


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A folder to import the stand-in from."""
    folder = tmp_path_factory.mktemp("stand_in")
    (folder / "mbrl" / "util").mkdir(parents=True)
    sources = {"__init__": '__version__ = "0.0"', "models": MODELS, "types": TYPES, "util/replay_buffer": BUFFER}
    for name, source in sources.items():
        (folder / "mbrl" / f"{name}.py").write_text(source)
    return folder


def run(*arguments, path=""):
    command = [sys.executable, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(path)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("rival")
    small = [
        "datasets/collect_episodes.py",
        "task=reacher",
        "behaviours={random:1,smooth:1}",
        "cameras=[]",
        "workers=1",
    ]
    for given in (["num_steps=600", "output={}/data"], ["num_steps=300", "seed=1000", "output={}/held_out"]):
        done = run(*small, *(value.format(place) for value in given))
        assert done.returncode == 0, done.stderr
    return place


def test_it_predicts_the_windows_with_the_elite_and_says_what_it_cost(place, stand_in):
    given = [PROGRAM, f"train={place}/data", f"held_out={place}/held_out", "cpu_seconds=0.5", f"output={place}/mbrl"]
    done = run(*given, path=stand_in)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"rival: {place / 'mbrl'}" and "chosen" in done.stdout
    training, recorded = open_dataset(place / "data"), open_dataset(place / "held_out")
    held_out, _ = stack_windows(list(recorded.episodes()), 40, 200)
    rival = read_rival(place / "mbrl", windows_identity(held_out, recorded, training, 40))
    # The five elite networks add 0 to 0.004 a step, 0.002 on average, and promise as much reward.
    steps = np.arange(1, held_out.horizon + 1)[None, :, None]
    assert rival.predicted.states == pytest.approx(held_out.known[:, -1:] + 0.002 * steps, abs=1e-4)
    assert rival.predicted.rewards == pytest.approx(np.full(held_out.running.shape, 0.002), abs=1e-6)
    fit = rival.details["fit"]
    assert rival.library == "mbrl 0.0" and 0.3 < fit["cpu_seconds"] < 0.8
    # 8 of 12 episodes of 50 steps are for training: 2 batches of 256 an epoch.
    assert fit["updates"] == 2 * fit["epochs"] and fit["epochs"] > 5
    assert rival.details["settings"]["cpu_seconds"] == 0.5 and "machine" in rival.details
    assert rival.details["propagation"] in ("expectation", "trajectories")

    again = run(*given, path=stand_in)
    assert again.returncode == 0 and "complete already" in again.stdout
    other = run(*given, "seed=1", path=stand_in)
    assert other.returncode == 1 and "holds another result" in other.stderr


@pytest.fixture(scope="module")
def program(stand_in):
    """The program as a module."""
    sys.path.insert(0, str(stand_in))
    spec = importlib.util.spec_from_file_location("fit_mbrl", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_mbrl"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(stand_in))
    for name in [name for name in sys.modules if name == "fit_mbrl" or name.split(".")[0] == "mbrl"]:
        del sys.modules[name]


class Doubling(torch.nn.Module):
    """Member m changes its state by m times what it sees."""

    elite_models = (1, 2)

    def forward(self, given, use_propagation):
        seen = given[..., :1]
        return torch.cat([torch.arange(7.0)[:, None, None] * seen, seen], dim=-1), None


def test_networks_go_on_together_or_each_on_its_own(program):
    held_out = SimpleNamespace(known=np.full((1, 2, 1), 1.0), future_actions=np.zeros((1, 2, 1)), horizon=2)
    dynamics = SimpleNamespace(model=Doubling(), input_normalizer=SimpleNamespace(normalize=lambda value: value))
    # Apart: 1 -> 2 -> 4 and 1 -> 3 -> 9. Together: 1 -> (2 + 3) / 2 -> 2.5 * (2 + 3) / 2.
    apart = program.roll_out(dynamics, held_out, together=False)
    assert apart.states[0, :, 0].tolist() == [2.5, 6.5] and apart.rewards[0].tolist() == [1.0, 2.5]
    together = program.roll_out(dynamics, held_out, together=True)
    assert together.states[0, :, 0].tolist() == [2.5, 6.25] and together.rewards[0].tolist() == [1.0, 2.5]


def test_transitions_pair_each_action_with_what_it_led_to(program, place):
    episodes = list(open_dataset(place / "data").episodes([0, 1]))
    batch = program.transitions(episodes)
    assert batch.obs.shape == (100, 10) and batch.obs[1].tolist() == batch.next_obs[0].tolist()
    assert batch.next_obs[49].tolist() == episodes[0].observations[50].tolist()
    assert batch.obs[50].tolist() == episodes[1].observations[0].tolist()
    assert np.flatnonzero(batch.truncateds).tolist() == [49, 99] and not batch.terminateds.any()


@pytest.mark.skipif(INSTALLED, reason="mbrl is installed here")
def test_without_mbrl_it_says_how_to_install_it(tmp_path):
    done = run(PROGRAM, "train=a", "held_out=b", f"output={tmp_path}/c")
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "mbrl is not installed" in done.stderr


@pytest.mark.parametrize(
    ("argument", "word"), [("cpu_seconds=0", "cpu_seconds=0"), ("held_out={}/data", "no held-out recording")]
)
def test_bad_input_is_one_line(place, stand_in, argument, word):
    given = [f"train={place}/data", f"held_out={place}/held_out", f"output={place}/bad", argument.format(place)]
    done = run(PROGRAM, *given, path=stand_in)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1 and word in done.stderr
    assert not (place / "bad").exists()
