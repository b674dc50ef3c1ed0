"""``WorldModel-v0`` as a native vector environment: any number of rollouts in one batched step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wm_gym.envs.imagination import SAID, RolloutState
from wm_gym.envs.rollouts import Rollouts, row_seeds
from wm_gym.envs.world_model_env import Renderer, check_render_mode
from wm_gym.models import TrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


class WorldModelVectorEnv(VectorEnv[Array, Array, Array]):
    """N learned worlds side by side. A row that ends begins anew in the same step (``AutoresetMode.SAME_STEP``).

    ``info`` holds arrays (N,): ``uncertainty``, ``uncertainty_bound`` and ``trusted`` of the observations beside them,
    under ``uncertainty="omit"`` the last alone.
    In a step in which rows end, ``final_obs`` (N,) holds their last observations (None elsewhere) and ``final_info``
    their infos as arrays, ``invalid`` (the bounds were left) among them; ``_final_obs`` and ``_final_info`` (N,) say
    which rows they are.
    """

    metadata = {  # noqa: RUF012  (Gymnasium's own form)
        "render_modes": ["rgb_array"],
        "render_fps": 50,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        model: str | Path | TrainedModel = "reacher",
        render_mode: str | None = None,
        device: str = "cpu",
        max_episode_steps: int | None = None,
        **settings: Any,
    ) -> None:
        """Wrap a trained model.

        Args:
            num_envs: N, any positive number.
            model: name of a shipped model, a model folder, or a loaded model.
            render_mode: None or ``rgb_array``.
            device: where the model runs.
            max_episode_steps: shortens ``horizon``, as it does for ``gymnasium.make``.
            **settings: as of :class:`~wm_gym.envs.WorldModelEnv`.

        Raises:
            ModelError: the model does not exist or is damaged.
            ConfigError: a keyword is unknown or its value does not exist.
        """
        self._rollouts = Rollouts(model, num_envs, device, settings, max_episode_steps)
        self.num_envs = self._rollouts.rows
        self.single_observation_space = self._rollouts.observation_space
        self.single_action_space = self._rollouts.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.render_mode = check_render_mode(render_mode)
        self.metadata = {**self.metadata, "render_fps": self._rollouts.frames_per_second}
        self._renderer = Renderer(self._rollouts)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode in every row; row i of ``seed`` is the single environment of ``seed + i``.

        Args:
            seed: one number, one per row, or None for the next episodes of the last seeds.
            options: as of the single environment, batched: ``{"observation": (N, S)}`` and so on.

        Returns:
            Observations (N, S) float32 and info with ``uncertainty``, ``uncertainty_bound`` and ``trusted`` (N,).
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        observation, said = self._rollouts.reset(row_seeds(seed, self.num_envs), options)
        return observation, self._with_masks(said)

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Take one step in every row.

        Args:
            actions: (N, A), clipped to the action space.

        Raises:
            ActionError: an action is not finite or has the wrong shape; nothing has changed.
        """
        result = self._rollouts.step(actions)
        observation = result.observation
        info: dict[str, Any] = result.said()
        done = result.terminated | result.truncated
        if done.any():
            final = {**info, "invalid": result.invalid}
            info = {name: value.copy() for name, value in info.items()}
            info["final_info"] = {**final, **{f"_{name}": done for name in final}}
            info["final_obs"] = _only(observation, done)
            ended = np.flatnonzero(done)
            observation[ended], said = self._rollouts.restart(ended)
            # What stands beside the first observation of a new episode is about that observation.
            for name, value in said.items():
                info[name][ended] = value
            info["_final_info"] = info["_final_obs"] = done
        return observation, result.reward, result.terminated, result.truncated, self._with_masks(info)

    def get_state(self, rows: Sequence[int] | None = None) -> RolloutState:
        """All that the rows (or those named) remember, as a frozen value on the CPU."""
        return self._rollouts.get_state(rows)

    def set_state(self, state: RolloutState, rows: Sequence[int] | None = None) -> None:
        """Go on exactly from a state of :meth:`get_state`; a state of one row is given to every row named."""
        self._rollouts.set_state(state, rows)

    def render(self) -> tuple[Array, ...] | None:
        """A frame (H, W, 3) uint8 of every row."""
        if self.render_mode != "rgb_array":
            return None
        return tuple(self._renderer.frame(row) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _with_masks(self, info: dict[str, Any]) -> dict[str, Any]:
        everywhere = np.ones(self.num_envs, np.bool_)
        return info | {f"_{name}": everywhere.copy() for name in SAID if name in info}


def _only(observation: Array, done: Array) -> Array:
    """Gymnasium's form of ``final_obs``: an object array with a row's observation where it ended, None elsewhere."""
    kept = np.full(len(done), None, dtype=object)
    for row in np.flatnonzero(done):
        kept[row] = observation[row].copy()
    return kept
