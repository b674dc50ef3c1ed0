"""One fake world with known answers, for every test that needs a model."""

import pytest
import torch

from wm_gym.models import TrainedModel
from wm_gym.models.normalization import Normalizer
from wm_gym.models.trained import StartStates
from wm_gym.models.trust import Calibration, Support
from wm_gym.models.world_model import Loss, WorldModel
from wm_gym.types import BoxSpec, LatentState, ObservationMap, Prediction, TaskSpec

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
        calibration=Calibration(torch.full((2, 10), 2.0), torch.tensor(10)),
        manifest={"files": {}, "dataset": {"steps": 100}},
    )
