"""Hydra overrides -> a typed dataclass, and whose output a folder is.

An unknown key, a wrong type or a missing value is one clear error.
"""

from __future__ import annotations

import errno
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin, get_type_hints

from hydra import compose, initialize, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import MISSING as REQUIRED
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wm_gym.errors import ConfigError, WorldModelError
from wm_gym.files import read_json, write_json
from wm_gym.lock import only_writer

__all__ = ["REQUIRED", "PlayConfig", "load_config", "read_settings", "run_program"]

T = TypeVar("T")


@dataclass
class PlayConfig:
    """How a learnt world is played in, for programs that have other settings too; see ``WorldModel-v0``."""

    start: str = field(default="initial", metadata={"help": "initial, or any recorded moment"})
    horizon: int | None = field(default=None, metadata={"help": "imagined steps; null: the episode limit"})
    uncertainty: str = field(default="report", metadata={"help": "report, penalize, truncate or omit"})
    penalty: float = field(default=1.0, metadata={"help": "reward lost per unit of uncertainty under penalize"})


_CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "the quota is used up: make room",
    errno.EFBIG: "the file grew beyond what may be written here: raise the limit (ulimit -f)",
    errno.EROFS: "the disk is read-only: choose another output",
    errno.EACCES: "permission denied: choose another output, or change the folder's permissions",
    errno.EPERM: "not permitted: choose another output, or change the folder's permissions",
}


def load_config(schema: type[T], overrides: Sequence[str], folder: Path | None = None) -> T:
    """Compose ``schema``'s defaults with Hydra overrides such as ``seed=1`` or ``task=hopper``.

    Args:
        schema: a dataclass, possibly nested. Fields set to ``REQUIRED`` must be given.
        overrides: as typed on the command line.
        folder: holds the Hydra groups, if the program has any: ``task/*.yaml`` are the choices for the field ``task``.

    Raises:
        ConfigError: names the key or value, and what exists instead.
    """
    name = _register(schema, folder)
    GlobalHydra.instance().clear()
    context = (
        initialize_config_dir(str(folder.resolve()), version_base="1.3")
        if folder is not None
        else initialize(None, version_base="1.3")
    )
    try:
        with context:
            composed = compose(config_name=name, overrides=[_into_mapping(schema, o) for o in overrides])
        missing = sorted(str(key) for key in OmegaConf.missing_keys(composed))
        if missing:
            raise ConfigError(f"{missing[0]}=... must be given (settings: {_keys(composed)})")
        return cast(T, OmegaConf.to_object(composed))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, schema, overrides, folder)) from error


def read_settings(schema: type[T], path: Path) -> T:
    """A YAML file as ``schema``'s dataclass; what it leaves out keeps its default.

    Raises:
        ConfigError: the file cannot be read, or holds an unknown key or a wrong type.
    """
    try:
        given = OmegaConf.load(path)
        return cast(T, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), given)))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        if key is not None and str(key).partition(".")[0] not in get_type_hints(schema):
            raise ConfigError(f"{path}: unknown key {key!r} (keys: {_names(schema)})") from error
        raise ConfigError(f"{path}: {_omegaconf_says(error)}") from error
    except Exception as error:  # whatever the parser of YAML makes of a file
        raise ConfigError(f"{path}: not a YAML mapping ({str(error).splitlines()[0]})") from error


def _register(schema: type[Any], folder: Path | None) -> str:
    """Give Hydra the schema, and a primary config in which each group of the folder must be chosen."""
    name = f"wm_gym_{schema.__name__}"
    ConfigStore.instance().store(name=f"{name}_schema", node=schema)
    groups = [] if folder is None else sorted(path.name for path in folder.iterdir() if path.is_dir())
    defaults = [f"{name}_schema", *({group: REQUIRED} for group in groups), "_self_"]
    ConfigStore.instance().store(name=name, node={"defaults": defaults})
    return name


def run_program(main: Any, schema: type[T], folder: Path | None = None) -> None:
    """Entry of every program: parse ``sys.argv``, run ``main(config)``, and turn an error into one line and exit 1.

    ``--help`` prints the settings with their defaults. An interruption (Ctrl-C or SIGTERM) exits with 130 after the
    work was saved. A program with a setting ``output`` is the only one that writes there.
    """
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        print(f"{(main.__doc__ or '').strip()}\n\nSettings (NAME=VALUE):\n{_describe(schema)}")
        if folder is not None:
            for group in sorted(path for path in folder.iterdir() if path.is_dir()):
                print(f"  {group.name}=: one of {_options(group)}")
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        config = load_config(schema, arguments, folder)
        with _alone(config):
            main(config)
    except WorldModelError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        sys.exit(
            f"error: {error.filename or 'the output'}: {_CANNOT_WRITE[error.errno]}; the same command goes on then"
        )
    except KeyboardInterrupt:
        print("interrupted: what was finished is saved; the same command goes on from there", file=sys.stderr)
        sys.exit(130)


@contextmanager
def _alone(config: Any) -> Iterator[None]:
    """Keep other programs from the output, if there is one."""
    output = getattr(config, "output", None)
    if not isinstance(output, str):
        yield
        return
    with only_writer(Path(output)):
        yield


def _keys(config: DictConfig) -> str:
    return ", ".join(str(key) for key in config)


def _options(group: Path) -> str:
    return ", ".join(sorted(path.stem for path in group.glob("*.yaml")))


def _into_mapping(schema: type[Any], override: str) -> str:
    """Let ``a.b=1`` and ``a={b:1}`` add to a field ``a`` that is a free mapping, where Hydra would want ``++``."""
    level: Any = schema
    for part in override.partition("=")[0].split("."):
        level = get_type_hints(level).get(part) if is_dataclass(level) else None
        if get_origin(level) is dict:
            return f"++{override}"
    return override


def is_complete(output: Path, identity: Mapping[str, Any], work: Path | None = None) -> bool:
    """Whether an agent is in a folder already, finished; if so it is said.

    Args:
        output: the agent's folder, with ``result.json`` once it is finished.
        identity: entries of that file by which the agent is known.
        work: folder of its checkpoints, which a kill may have left behind and which then goes.

    Raises:
        ConfigError: another agent is in it.
    """
    if not (output / "result.json").exists():
        return False
    finished = read_json(output / "result.json")
    if any(finished.get(name) != value for name, value in identity.items()):
        raise ConfigError(f"{output} holds another agent: delete it, or choose another output")
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)
    print(f"agent: {output} is complete already (delete it to train again)")
    return True


def claim_output(output: Path, identity: Mapping[str, Any]) -> None:
    """Mark a folder as that of the agent with these settings.

    Raises:
        ConfigError: another agent is in it.
    """
    path = output / "settings.json"
    other = path.exists() and read_json(path) != identity
    if other or ((output / "result.json").exists() and not path.exists()):
        raise ConfigError(f"{output} holds another agent: delete it, or choose another output")
    write_json(path, dict(identity))


def _explain(error: Exception, schema: type[Any], overrides: Sequence[str], folder: Path | None) -> str:
    """One line that names the override at fault and lists what exists."""
    for override in overrides:
        if "=" not in override:
            return f"{override!r} is not NAME=VALUE (settings: {_names(schema)})"
    chosen = {key: value for key, _, value in (override.lstrip("+~").partition("=") for override in overrides)}
    for group in [] if folder is None else sorted(path for path in folder.iterdir() if path.is_dir()):
        if group.name not in chosen:
            return f"{group.name}=... must be given (one of {_options(group)})"
        if not (group / f"{chosen[group.name]}.yaml").exists():
            return f"{group.name}={chosen[group.name]} does not exist (one of {_options(group)})"
    for key in chosen:
        level: Any = schema
        for part in key.split("."):
            if is_dataclass(level) and part not in get_type_hints(level):
                return f"unknown setting {key!r} (settings: {_names(cast(type[Any], level))})"
            level = get_type_hints(level)[part] if is_dataclass(level) else None
    return _omegaconf_says(error)


def _omegaconf_says(error: Exception) -> str:
    """The first line of the innermost cause, with the setting that it is about."""
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read as NAME=VALUE"
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    keys = [key for cause in causes if (key := getattr(cause, "full_key", None))]
    lines = [str(getattr(cause, "msg", None) or cause).splitlines() for cause in causes]
    innermost = next((found for found in reversed(lines) if found), [type(error).__name__])
    text = " ".join(innermost[: 2 if innermost[0].endswith(":") else 1])
    return f"setting {keys[-1]!r}: {text}" if keys else text


def _names(schema: type[Any]) -> str:
    return ", ".join(entry.name for entry in fields(schema))


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
