"""The report's sections, in the order in which they are measured and judged."""

from wm_gym.evaluation.sections import (
    actions,
    closed_loop,
    controls,
    exploit,
    open_loop,
    planning,
    plausibility,
    ranking,
    reality_gap,
    robustness,
    speed,
    training,
    uncertainty,
)

SECTIONS = tuple(
    module.SECTION
    for module in (
        open_loop,
        closed_loop,
        ranking,
        training,
        exploit,
        actions,
        plausibility,
        uncertainty,
        planning,
        reality_gap,
        robustness,
        speed,
        controls,
    )
)
"""A section may look at those before it."""

__all__ = ["SECTIONS"]
