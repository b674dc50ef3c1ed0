"""Training in imagination: what a policy that was trained there earns in MuJoCo, beside one trained in MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wm_gym.evaluation.bench import Bench
from wm_gym.evaluation.records import Record
from wm_gym.evaluation.returns import Returns
from wm_gym.evaluation.sections.closed_loop import entries_of
from wm_gym.evaluation.sections.section import Measured, Plain, Section, share_of, untested
from wm_gym.evaluation.statistics import Interval, clustered_mean_samples
from wm_gym.evaluation.verdicts import gate

GATE = 0.9


def measure(bench: Bench) -> Measured:
    """Nothing of its own: the closed loop has played all agents."""
    return Measured()


def judge(records: Sequence[Record], known: Mapping[str, Any], generator: np.random.Generator) -> Plain:
    """Transfer: return above random actions, as a share of what training in MuJoCo gains above them."""
    entries = entries_of(known["records"]["closed_loop"], generator)
    inside, control, random = (_of_kind(entries, kind) for kind in ("imagination", "control", "random"))
    if not inside:
        return untested("no agent that was trained in this imagination was given (agent=FOLDER)")
    if not control or not random:
        return untested("there is no policy trained in MuJoCo to compare with (control=run trains one)")
    share = transfer(inside, control, random, generator).to_dict()
    return {
        "tested": True,
        "seeds": {"imagination": len(inside), "physics": len(control)},
        "real_steps": {
            "imagination": inside[0].details.get("real_steps"),
            "physics": control[0].details.get("real_steps"),
        },
        "transfer": share,
        "gates": [gate("transfer", share, at_least=GATE)],
    }


def transfer(
    inside: Sequence[Returns], control: Sequence[Returns], random: Sequence[Returns], generator: np.random.Generator
) -> Interval:
    """The share, resampling training seeds and then their episodes."""
    means, samples = [], []
    for group in (inside, control, random):
        returns = [entry.physical_returns for entry in group]
        means.append(float(np.mean([values.mean() for values in returns])))
        samples.append(clustered_mean_samples(returns, generator))
    return share_of(means[0] - means[2], means[1] - means[2], samples[0] - samples[2], samples[1] - samples[2])


def _of_kind(entries: Sequence[Returns], kind: str) -> list[Returns]:
    return [entry for entry in entries if entry.kind == kind]


SECTION = Section("training", measure, judge)
