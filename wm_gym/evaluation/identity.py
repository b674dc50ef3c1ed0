"""What exactly was judged, where and with what: machine, versions, hashes, command."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("wm_gym", "torch", "numpy", "scipy", "gymnasium", "mujoco", "stable-baselines3", "av", "envpool")


def describe_machine() -> dict[str, str | int]:
    """Processor, cores that this process may use, operating system and Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def installed_versions() -> dict[str, str]:
    """Versions of what the figures depend on, as far as it is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package.replace("-", "_")] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def command_line() -> str:
    """The command that is running, ready to be typed again."""
    return shlex.join(["python", *sys.argv])


def seeded_command(runs: Sequence[tuple[int, str]]) -> str:
    """The command of the lowest of several seeds, where the others differ in the seed and the output alone.

    Args:
        runs: seed and command of each.
    """
    ordered = sorted(runs)
    others = ", ".join(str(seed) for seed, _ in ordered[1:])
    return ordered[0][1] + (f" (likewise seed {others})" if others else "")


def describe_machines(machines: Iterable[Mapping[str, Any]]) -> str:
    """Processor and cores of what :func:`describe_machine` said of several runs, each kind once."""
    return "; ".join(sorted({f"{machine['processor']}, {machine['cores']} cores" for machine in machines}))


def folder_digest(folder: Path) -> str:
    """Sha256 over the names and contents of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(
            f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
