"""What a report can judge: a learned world, MuJoCo itself, and worlds that are wrong on purpose."""

from wm_gym.evaluation.worlds.learned import LearnedWorld
from wm_gym.evaluation.worlds.physics import PhysicsWorld
from wm_gym.evaluation.worlds.world import Followed, Moments, World, moments_of

__all__ = ["Followed", "LearnedWorld", "Moments", "PhysicsWorld", "World", "moments_of"]
