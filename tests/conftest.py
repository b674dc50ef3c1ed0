"""Fake worlds with known answers, for every test that needs a model or a camera."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wm_gym.models import TrainedModel
from wm_gym.models.normalization import Normalizer
from wm_gym.models.trained import StartStates
from wm_gym.models.trust import Calibration, Support
from wm_gym.models.world_model import Loss, WorldModel
from wm_gym.types import BoxSpec, CameraSpec, Episode, LatentState, ObservationMap, Prediction, TaskSpec

INFINITE = float("inf")


class PointMass(WorldModel):
    """A mass on a line, observed as (x, v): v' = v + a / 10 + noise / 100, x' = x + v' / 10, reward -x'^2.

    It terminates for certain where x' > 1, and its spread is |x'| / 10 (0 at a start): all can be worked by hand.
    """

    family = "point_mass"
    obs_types = ("state",)
    noise_size = 1
    context = 0

    def __init__(self):
        task = TaskSpec(
            name="point_mass",
            observation_space=BoxSpec((-INFINITE, -INFINITE), (INFINITE, INFINITE)),
            action_space=BoxSpec((-1.0,), (1.0,)),
            control_dt=0.1,
            max_episode_steps=20,
            observation_map=ObservationMap(),
        )
        super().__init__(task)
        self.normalizer = Normalizer(2, task.action_space)
        self.normalizer.low.fill_(-2.0)
        self.normalizer.high.fill_(2.0)
        self.normalizer.reward_range.copy_(torch.tensor([-4.0, 0.0]))

    def encode(self, observation):
        return observation.state

    def observe(self, latent, action, embedding, noise=None):
        rows = len(embedding)
        return LatentState({"state": embedding, "reward": torch.zeros(rows), "start": torch.ones(rows)})

    def choose(self, latent, noise):
        return latent

    def imagine(self, latent, action, noise=None):
        x, v = latent["state"].unbind(-1)
        v = v + action[:, 0] / 10 + (0 if noise is None else (noise[:, 0] - 0.5) / 100)
        x = x + v / 10
        state = self.normalizer.bound(torch.stack([x, v], -1))
        return LatentState({"state": state, "reward": -x.square(), "start": torch.zeros(len(x))})

    def predict(self, latent):
        x = latent["state"][:, 0]
        return Prediction(
            reward=latent["reward"],
            continuation=(x <= 1).float(),
            spread=(1 - latent["start"]) * x.abs() / 10,
            state=latent["state"],
        )

    def loss(self, segment, horizon):
        return Loss(torch.zeros(()), {})

    def config(self):
        return {}


@pytest.fixture
def point_mass() -> TrainedModel:
    """Eight starts at x = 0.0 ... 0.7 and v = 0; support |x|, |v|, |a| <= 1; calibrated for 10 steps, factor 2."""
    initial = torch.zeros(8, 1, 2)
    initial[:, 0, 0] = torch.arange(8) / 10
    none = torch.zeros(8, 0, 1)
    return TrainedModel(
        model=PointMass(),
        starts=StartStates(initial, none, initial + 0.05, none),
        support=Support(-torch.ones(3), torch.ones(3), torch.zeros(3), torch.eye(3), torch.tensor(10.0)),
        calibration=Calibration.proportional(2.0, 10),
        manifest={"files": {}, "dataset": {"steps": 100}},
    )


class MovingDot:
    """A bright dot that an action pushes along a line, seen by one camera: v' = 0.9 v + 0.1 a, x' = x + v', |x| <= 1.

    Episodes begin at rest. The reward is -x'^2, and the state observation (x, v).
    """

    camera = CameraSpec("eye", width=16, height=16)
    task = TaskSpec(
        name="moving_dot",
        observation_space=BoxSpec((-INFINITE, -INFINITE), (INFINITE, INFINITE)),
        action_space=BoxSpec((-1.0,), (1.0,)),
        control_dt=0.1,
        max_episode_steps=20,
        cameras=(camera,),
    )

    @staticmethod
    def frames(x):
        """(n,) positions -> (n, 16, 16, 3) uint8: a blob in column 8 + 5 x on a grey ramp."""
        rows, columns = np.mgrid[:16, :16]
        blob = np.exp(-((columns - 8 - 5 * np.asarray(x)[:, None, None]) ** 2 + (rows - 8) ** 2) / 4)
        picture = 40 + 2 * rows + 160 * blob
        return np.repeat(picture[..., None], 3, axis=-1).round().astype(np.uint8)

    def episode(self, seed, steps=20):
        """Pushed at random, each push held for four steps."""
        rng = np.random.default_rng(seed)
        x, v, states = rng.uniform(-0.8, 0.8), 0.0, []
        actions = np.repeat(rng.uniform(-1, 1, (steps // 4 + 1, 1)), 4, axis=0)[:steps].astype(np.float32)
        for step in range(steps + 1):
            states.append((x, v))
            if step < steps:
                v = 0.9 * v + 0.1 * float(actions[step, 0])
                x, v = (x + v, v) if abs(x + v) <= 1 else (float(np.sign(x)), 0.0)
        states = np.array(states, np.float32)
        return Episode(
            observations=states,
            actions=actions,
            rewards=-(states[1:, 0] ** 2),
            terminated=False,
            truncated=True,
            control_dt=0.1,
            frames={"eye": self.frames(states[:, 0])},
        )


@pytest.fixture(scope="session")
def moving_dot() -> MovingDot:
    """A video with answers known by hand."""
    return MovingDot()


@pytest.fixture(scope="session")
def foreign_folder():
    """Eight episodes of 30 rows that LeRobot 0.4.4 wrote: a joint, its speed, a torque, and no reward."""
    return Path(__file__).parent / "compatibility" / "toy_arm"
