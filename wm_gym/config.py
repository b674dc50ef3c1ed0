"""Hydra overrides -> a typed dataclass. An unknown key, a wrong type or a missing value is one clear error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra import compose, initialize, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING as REQUIRED
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wm_gym.errors import ConfigError, WorldModelError

__all__ = ["REQUIRED", "load_config", "run_program"]

T = TypeVar("T")


def load_config(schema: type[T], overrides: Sequence[str], folder: Path | None = None) -> T:
    """Compose ``schema``'s defaults with Hydra overrides such as ``seed=1`` or ``task=hopper``.

    Args:
        schema: a dataclass, possibly nested. Fields set to ``REQUIRED`` must be given.
        overrides: as typed on the command line.
        folder: holds the Hydra groups (``task/*.yaml``), if the program has any.

    Raises:
        ConfigError: names the key or value, and what exists instead.
    """
    name = f"wm_gym_{schema.__name__}"
    ConfigStore.instance().store(name=name, node=schema)
    GlobalHydra.instance().clear()
    context = (
        initialize_config_dir(str(folder.resolve()), version_base="1.3")
        if folder is not None
        else initialize(None, version_base="1.3")
    )
    try:
        with context:
            composed = compose(config_name=name, overrides=list(overrides))
        missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
        if missing:
            raise ConfigError(f"{missing[0]}=... must be given (settings: {_keys(composed)})")
        return cast(T, OmegaConf.to_object(composed))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, schema, overrides, folder)) from error


def run_program(main: Any, schema: type[T], folder: Path | None = None) -> None:
    """Entry of every program: parse ``sys.argv``, run ``main(config)``, and turn an error into one line and exit 1.

    ``--help`` prints the settings with their defaults. An interruption exits with 130 after the work was saved.
    """
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        print(f"{(main.__doc__ or '').strip()}\n\nSettings (NAME=VALUE):\n{_describe(schema)}")
        if folder is not None:
            for group in sorted(path for path in folder.iterdir() if path.is_dir()):
                print(f"  {group.name}=: one of {_options(group)}")
        return
    try:
        main(load_config(schema, arguments, folder))
    except WorldModelError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: what was finished is saved; the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def _keys(config: DictConfig) -> str:
    return ", ".join(str(key) for key in config)


def _options(group: Path) -> str:
    return ", ".join(sorted(path.stem for path in group.glob("*.yaml")))


def _explain(error: Exception, schema: type[Any], overrides: Sequence[str], folder: Path | None) -> str:
    """One line that names the override at fault and lists what exists."""
    known = ", ".join(entry.name for entry in fields(schema))
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        head = key.partition(".")[0].partition("@")[0]
        if "=" not in override:
            return f"{override!r} is not NAME=VALUE (settings: {known})"
        group = folder / head if folder is not None else None
        if group is not None and group.is_dir() and not (group / f"{value}.yaml").exists() and "." not in key:
            return f"{head}={value} does not exist (one of {_options(group)})"
        if head not in known.split(", "):
            return f"unknown setting {key!r} (settings: {known})"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    key = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    cause = getattr(error.__cause__, "msg", None) or text
    return f"setting {key!r}: {str(cause).splitlines()[0]}" if key else text


def _describe(schema: type[Any], prefix: str = "") -> str:
    lines = []
    for entry in fields(schema):
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if is_dataclass(default) and not isinstance(default, type):
            lines.append(_describe(type(default), f"{prefix}{entry.name}."))
        else:
            shown = "(must be given)" if default == REQUIRED else f"(default {default})"
            lines.append(f"  {prefix}{entry.name}  {shown}  {entry.metadata.get('help', '')}".rstrip())
    return "\n".join(lines)
