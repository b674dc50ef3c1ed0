"""The rules of imagined rollouts: what the keyword arguments of the environments mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from wm_gym.errors import ConfigError

Array = np.ndarray[Any, np.dtype[Any]]
TransitionFn = Callable[[Array, Array, Array], Any]
"""(B, ...) observations as shown, (B, A) actions, (B, ...) next observations -> (B,)."""


@dataclass(frozen=True)
class ImaginationConfig:
    """What the keyword arguments of the environments mean; the same for the three faces."""

    obs_type: str | None = None
    """``state``, ``image`` or ``latent``; None for what the model was trained for."""
    camera: str | None = None
    """Whose frames ``image`` shows; None for the model's first."""
    horizon: int | None = None
    """Steps until ``truncated``; None for the task's own episode limit."""
    start: Literal["initial", "any"] = "initial"
    """Begin at recorded first observations, or at any recorded moment."""
    deterministic: bool = False
    """True: the mean over members, no sampling."""
    uncertainty: Literal["report", "penalize", "truncate", "omit"] = "report"
    """``omit`` imagines each row by its own member alone and says nothing about uncertainty: faster,
    with many rows on the CPU."""
    penalty: float = 1.0
    """Reward lost per unit of uncertainty under ``penalize``."""
    reward_fn: TransitionFn | None = None
    """Replaces the learned reward."""
    termination_fn: TransitionFn | None = None
    """Replaces the learned termination."""

    def limited(self, steps: int | None) -> ImaginationConfig:
        """The same rules with a horizon of at most ``steps``."""
        if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or steps < 1:
            raise ConfigError(f"max_episode_steps={steps!r}: a positive number of steps is needed")
        return replace(self, horizon=int(steps) if self.horizon is None else min(int(steps), self.horizon))

    def check(self, obs_types: tuple[str, ...], cameras: tuple[str, ...] = (), can_omit: bool = True) -> None:
        """Raise ``ConfigError`` on a value that does not exist."""
        for name, value, allowed in (
            ("start", self.start, ("initial", "any")),
            ("uncertainty", self.uncertainty, ("report", "penalize", "truncate", *(("omit",) if can_omit else ()))),
            ("obs_type", self.obs_type or obs_types[0], obs_types),
        ):
            if value not in allowed:
                raise ConfigError(f"{name}={value!r}: this model offers {', '.join(allowed)}")
        if self.camera is not None and self.camera not in cameras:
            raise ConfigError(f"camera={self.camera!r}: this model draws {', '.join(cameras) or 'none'}")
        if not isinstance(self.deterministic, bool | np.bool_):
            raise ConfigError(f"deterministic={self.deterministic!r}: True or False")
        if self.deterministic and self.uncertainty == "omit":
            raise ConfigError("uncertainty='omit', deterministic=True: the mean needs every member; choose one of them")
        counted = isinstance(self.horizon, int | np.integer) and not isinstance(self.horizon, bool)
        if self.horizon is not None and (not counted or self.horizon < 1):
            raise ConfigError(f"horizon={self.horizon!r}: a positive number of steps is needed")
        if not isinstance(self.penalty, int | float) or not np.isfinite(self.penalty) or self.penalty < 0:
            raise ConfigError(f"penalty={self.penalty!r}: a finite number, zero or more, is needed")
