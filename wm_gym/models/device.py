"""Which device tensors live on: an argument everywhere, checked once."""

from __future__ import annotations

import torch

from wm_gym.errors import ConfigError


def usable_device(name: str | torch.device) -> torch.device:
    """The device of that name.

    Raises:
        ConfigError: there is no such device, or not on this machine.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device={str(name)!r} cannot be used here ({reason}); device=cpu always can") from error
    return device
