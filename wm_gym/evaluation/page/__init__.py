"""``report.html``: one self-contained page, drawn from the values of ``report.json`` and the film."""

from wm_gym.evaluation.page.layout import render_page

__all__ = ["render_page"]
