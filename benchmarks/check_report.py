"""Compute a report's figures again from its raw episodes, or hold one report against another.

python benchmarks/check_report.py report=outputs/reacher/report
python benchmarks/check_report.py baseline=outputs/reacher/report candidate=outputs/new/report
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wm_gym.config import run_program
from wm_gym.errors import ConfigError
from wm_gym.evaluation.charts import shown_interval
from wm_gym.evaluation.regression import compare_reports, differing_conditions, worse_verdicts
from wm_gym.evaluation.report_folder import count_figures, read_report, recompute

MOST = 20
"""Differences that are printed."""


@dataclass
class Settings:
    """Either ``report``, or ``baseline`` and ``candidate``."""

    report: str | None = field(default=None, metadata={"help": "folder of a report: recompute every figure of it"})
    baseline: str | None = field(default=None, metadata={"help": "folder of the report that was accepted before"})
    candidate: str | None = field(default=None, metadata={"help": "folder of the report that would replace it"})


def main(settings: Settings) -> None:
    """Compute a report's figures again from its raw episodes, or hold one report against another."""
    if settings.report and not settings.baseline and not settings.candidate:
        check(Path(settings.report))
    elif settings.baseline and settings.candidate and not settings.report:
        compare(Path(settings.baseline), Path(settings.candidate))
    else:
        raise ConfigError("give report=FOLDER, or baseline=FOLDER and candidate=FOLDER")


def check(folder: Path) -> None:
    """Exit with 1 where a figure does not follow from the raw episodes, or a file is not the one that was written."""
    found = recompute(folder)
    if found:
        for difference in found[:MOST]:
            print(f"differs: {difference}")
        sys.exit(f"error: {folder}: {len(found)} entries do not follow or were changed; make the report again")
    print(f"{count_figures(read_report(folder)):,} figures follow from the raw episodes")
    print(f"report: {folder / 'report.html'}")


def compare(baseline: Path, candidate: Path) -> None:
    """Exit with 1 where a figure got worse beyond its interval or is gone, or a verdict got worse."""
    reports = read_report(baseline), read_report(candidate)
    for difference in differing_conditions(*reports):
        print(f"note: {difference}")
    compared = compare_reports(*reports)
    print(f"{'figure':<28}{'baseline':>26}{'candidate':>26}")
    for row in compared:
        mark = "  worse" if row.worse else ""
        print(f"{row.name:<28}{cell(row.baseline):>26}{cell(row.candidate):>26}{mark}")
    worse = [row.name for row in compared if row.worse] + worse_verdicts(*reports)
    if worse:
        sys.exit(f"error: {candidate} is worse than {baseline}: {'; '.join(worse)}")
    print(f"nothing got worse beyond its interval\nreport: {candidate / 'report.html'}")


def cell(figure: Mapping[str, float] | None) -> str:
    """A figure with its interval."""
    return "does not exist" if figure is None else shown_interval(figure)


if __name__ == "__main__":
    run_program(main, Settings)
