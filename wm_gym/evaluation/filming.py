"""Which episodes of a report are filmed: always the first ones, never chosen by how they look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wm_gym.errors import RenderError
from wm_gym.evaluation.bench import ReportConfig
from wm_gym.evaluation.film import Film, make_film
from wm_gym.evaluation.returns import FIRST_SEED
from wm_gym.evaluation.trajectories import Recorded
from wm_gym.physics.camera import StateRenderer
from wm_gym.types import TaskSpec

Plain = dict[str, Any]


def film_report(
    task: TaskSpec, kept: Sequence[Recorded], config: ReportConfig, model_sha256: str
) -> tuple[Film | None, Plain]:
    """The film of the first contender's first starts, and what the report says of it."""
    worlds = {world: [r for r in kept if r.section == "closed_loop" and r.world == world] for world in _WORLDS}
    if config.film_starts == 0 or not worlds["physics"]:
        return None, _without("none was asked for.")
    name = worlds["physics"][0].policy
    pairs = list(zip(*(worlds[world][0].episodes for world in _WORLDS), strict=True))[: config.film_starts]
    rate = max(8, round(0.5 / task.control_dt))
    try:
        renderer = StateRenderer(task, None, config.film_size, config.film_size)
    except RenderError as error:
        return None, _without(str(error))
    try:
        film = make_film(pairs, renderer.draw, model_sha256, rate)
    except RenderError as error:
        return None, _without(str(error))
    finally:
        renderer.close()
    caption = (
        f"{name}, the same policy in both worlds, from the first {len(pairs)} starts (seeds {FIRST_SEED} to "
        f"{FIRST_SEED + len(pairs) - 1}): the first are always the ones shown. Played at {rate * task.control_dt:.2g} "
        "times real speed."
    )
    steps = ", ".join(str(step) for step in film.strip_steps)
    stills = f"Stills of the first start at steps {steps}: MuJoCo above (blue frame), imagined below (orange frame)."
    about = {"caption": caption, "stills": stills, "starts": len(pairs), "frames": film.frames}
    return film, {"included": True, "reason": "", **about}


_WORLDS = ("physics", "imagination")


def _without(reason: str) -> Plain:
    return {"included": False, "reason": reason, "caption": "", "stills": ""}
