"""What a table reads: every result file of one kind, and under the rows what made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wm_gym.errors import DataError


def read_each(
    results: Path, kind: str, described: str, read: Callable[[Mapping[str, Any]], tuple[Any, Any]]
) -> list[tuple[Any, Any]]:
    """What is read from each result file of one kind, in the order of their names.

    Raises:
        DataError: a file is damaged, or not of its kind.
    """
    found = []
    for path in sorted(results.glob(f"{kind}_*.json")):
        try:
            found.append(read(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
            raise DataError(f"{path} does not hold {described} ({type(error).__name__}: {error})") from error
    return found


def made_by(content: Mapping[str, Any]) -> str:
    """The command of one result and its machine, for the end of a table; no full stop, so that more can follow."""
    machine = content["machine"]
    return f"`{content['command']}`, and so on, on {machine['processor']}, {machine['cores']} cores"
