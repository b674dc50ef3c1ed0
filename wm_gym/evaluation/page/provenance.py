"""The page's sections on what was judged: the film, the model's card, hashes and commands, limits."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from wm_gym.evaluation.film import Film
from wm_gym.evaluation.page.parts import definitions

Plain = Mapping[str, Any]


def film(section: Plain, film: Film | None) -> str:
    """Both worlds side by side."""
    title = "<h2>Side by side</h2>"
    if film is None:
        return f"{title}<p class='quiet'>No film: {escape(section['reason'])}</p>"
    video = base64.b64encode(film.video).decode()
    strip = base64.b64encode(film.strip).decode()
    return (
        f"{title}<p>{escape(section['caption'])}</p>"
        f'<figure class="card"><video controls loop muted playsinline preload="auto" width="{film.width}" '
        f'height="{film.height}" src="data:video/mp4;base64,{video}"></video>'
        f'<img class="strip" alt="{escape(section["stills"])}" src="data:image/jpeg;base64,{strip}">'
        f"<figcaption>{escape(section['stills'])}</figcaption></figure>"
    )


def model_card(card: Plain, data: Plain) -> str:
    """What the model is for, and what it learnt from."""
    return (
        f'<h2>Model card</h2><div class="card">{definitions(card)}</div><h2>Data</h2><div class="card">'
        f"{definitions(data)}</div>"
    )


def identity(report: Plain) -> str:
    """Hashes, versions, seeds, machine, cost, commands."""
    known = report["identity"]
    parts = ["<h2>What exactly was judged</h2>", '<div class="card">']
    for name, title in _TITLES.items():
        entries = report["settings"] if name == "settings" else known.get(name)
        if entries:
            parts.append(f"<h3>{title}</h3>{definitions(entries)}")
    cost = {"wall_seconds": known["wall_seconds"], "processor_seconds": known["cpu_seconds"]}
    parts.append(f"<h3>Cost of this report</h3>{definitions(cost)}</div><h3>Commands</h3>")
    for command in known["commands"]:
        parts.append(f'<p class="small quiet">{escape(command["makes"])}</p><pre>{escape(command["command"])}</pre>')
    return "".join(parts)


_TITLES = {
    "model": "World model",
    "policies": "Agents",
    "panel": "Panel",
    "machine": "Machine",
    "versions": "Versions",
    "seeds": "Seeds",
    "settings": "Settings",
}


def limits(limits: Sequence[str]) -> str:
    """What no figure above speaks of."""
    listed = "".join(f"<li>{escape(limit)}</li>" for limit in limits)
    return f"<h2>What this report does not show</h2><ul>{listed}</ul>"
