"""``WorldModel-v0`` as a stable-baselines3 ``VecEnv``: one batched step for all rows, no worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from wm_gym.envs.imagination import RolloutState
from wm_gym.envs.rollouts import Rollouts, row_seeds
from wm_gym.envs.world_model_env import Renderer, check_render_mode
from wm_gym.errors import ConfigError
from wm_gym.models import TrainedModel

Array = np.ndarray[Any, np.dtype[Any]]


class WorldModelVecEnv(VecEnv):
    """N learned worlds for SB3. ``terminated`` and ``truncated`` are merged here and nowhere else, as SB3 wants it.

    A row that ends begins anew in the same step; its info then holds ``terminal_observation``, ``TimeLimit.truncated``
    (SB3 bootstraps the value there) and ``episode`` with the return ``r`` and the length ``l``.
    """

    def __init__(
        self,
        model: str | Path | TrainedModel = "reacher",
        num_envs: int = 1,
        seed: int | None = None,
        render_mode: str | None = None,
        device: str = "cpu",
        max_episode_steps: int | None = None,
        **settings: Any,
    ) -> None:
        """Wrap a trained model; the keywords are those of :class:`~wm_gym.envs.WorldModelEnv`.

        Args:
            model: name of a shipped model, a model folder, or a loaded model.
            num_envs: N.
            seed: row i uses ``seed + i``; None draws fresh ones.
            render_mode: None or ``rgb_array``.
            device: where the model runs.
            max_episode_steps: shortens ``horizon``.
            **settings: as of :class:`~wm_gym.envs.WorldModelEnv`.
        """
        self._rollouts = Rollouts(model, num_envs, device, settings, max_episode_steps)
        self._renderer = Renderer(self._rollouts)
        self.render_mode = check_render_mode(render_mode)
        super().__init__(self._rollouts.rows, self._rollouts.observation_space, self._rollouts.action_space)
        self.metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": self._rollouts.frames_per_second}
        self._actions: Array | None = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        if seed is not None:
            self.seed(seed)

    def reset(self) -> Array:
        """Begin an episode in every row, with the seeds and options given before: observations (N, S)."""
        observation, said = self._rollouts.reset(row_seeds(self._seeds, self.num_envs), _common_options(self._options))
        self.reset_infos = _infos(said)
        self._reset_seeds()
        self._reset_options()
        self._returns[:], self._lengths[:] = 0.0, 0
        return observation

    def step_async(self, actions: Array) -> None:
        """Keep the actions (N, A) for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step: observations (N, S), rewards (N,), dones (N,) and a list of infos."""
        result = self._rollouts.step(self._actions)
        observation, done = result.observation, result.terminated | result.truncated
        self._returns += result.reward
        self._lengths += 1
        infos = _infos(result.said())
        if done.any():
            ended = np.flatnonzero(done)
            last = observation[ended]
            observation[ended], _ = self._rollouts.restart(ended)
            for place, row in enumerate(ended.tolist()):
                infos[row] |= result.info(row)
                infos[row]["terminal_observation"] = last[place]
                infos[row]["TimeLimit.truncated"] = bool(result.truncated[row] and not result.terminated[row])
                infos[row]["episode"] = {"r": float(self._returns[row]), "l": int(self._lengths[row]), "t": 0.0}
            self._returns[done], self._lengths[done] = 0.0, 0
        return observation, result.reward, done, infos

    def get_state(self, rows: Sequence[int] | None = None) -> RolloutState:
        """All that the rows (or those named) remember, as a frozen value on the CPU."""
        return self._rollouts.get_state(rows)

    def set_state(self, state: RolloutState, rows: Sequence[int] | None = None) -> None:
        """Go on exactly from a state of :meth:`get_state`."""
        self._rollouts.set_state(state, rows)

    def running(self) -> tuple[Array, Array]:
        """Returns (N,) and lengths (N,) of the unfinished episodes, as they will be reported at their ends."""
        return self._returns.copy(), self._lengths.copy()

    def set_running(self, returns: Array, lengths: Array) -> None:
        """Go on counting from :meth:`running`."""
        self._returns[:], self._lengths[:] = returns, lengths

    def get_images(self) -> Sequence[Array | None]:
        """A frame (H, W, 3) uint8 of every row."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        return [self._renderer.frame(row) for row in range(self.num_envs)]

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute, once for every row: they are one object."""
        return [getattr(self, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of all rows at once; they are one object."""
        if len(self._rows(indices)) < self.num_envs:
            raise ConfigError(f"set_attr({attr_name!r}) of some rows: they are one object, name all of them")
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method: ``get_state`` and ``set_state`` for the rows named, any other for all rows at once."""
        rows = self._rows(indices)
        if method_name == "get_state":
            return [self.get_state([row]) for row in rows]
        if method_name == "set_state" and len(args) == 1:
            self.set_state(args[0], rows)
            return [None] * len(rows)
        if len(rows) < self.num_envs:
            raise ConfigError(
                f"env_method({method_name!r}, indices={indices!r}): rows are one object, name all of them"
            )
        return [getattr(self, method_name)(*args, **kwargs)] * len(rows)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Rows have no wrappers, but report their episodes as SB3's ``Monitor`` does."""
        return [wrapper_class.__name__ == "Monitor"] * len(self._rows(indices))

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        chosen: Iterable[int] = self._get_indices(indices)
        return list(chosen)


def _infos(said: Mapping[str, Array]) -> list[dict[str, Any]]:
    """What is said of the rows, as one dictionary of plain values for each."""
    columns = zip(*(values.tolist() for values in said.values()), strict=True)
    return [dict(zip(said, column, strict=True)) for column in columns]


def _common_options(options: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Reset options of all rows as one: SB3 keeps a dictionary for each row, often the same for all.

    Raises:
        ConfigError: rows name different options.
    """
    first = options[0]
    if all(option is first for option in options) or not any(options):
        return first
    if all(option.keys() == {"observation"} for option in options):
        return {"observation": np.stack([option["observation"] for option in options])}
    raise ConfigError("set_options: give one dictionary for all rows, or an observation for each of them")
