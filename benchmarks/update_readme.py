"""Write the tables of README.md anew from benchmarks/results/*.json; with --check, only say whether they are current.

A table stands between two comments, named after its file:  <!-- results:transfer_reacher -->  <!-- /results -->
The one named zoo has a row for every prediction_*.json, which benchmarks/measure_prediction.py writes; those named
calibration and changes have one for every calibration_*.json of benchmarks/measure_calibration.py, and simulators some
for every simulators_*.json of benchmarks/compare_simulators.py, and throughput one for every throughput_*.json of
benchmarks/measure_throughput.py, and race one for every race_*.json of benchmarks/race_to_return.py, and verdicts one
for every report_*.json of benchmarks/compare_physics.py, and video one for every video_*.json of
benchmarks/measure_video.py, and learning one for every learning_*.json of benchmarks/compare_learning.py.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wm_gym.errors import DataError, WorldModelError
from wm_gym.evaluation.tables.agents import render_table
from wm_gym.evaluation.tables.calibration import changes_line, coverage_line, render_calibration
from wm_gym.evaluation.tables.learning import render_learning
from wm_gym.evaluation.tables.prediction import render_zoo
from wm_gym.evaluation.tables.race import render_race
from wm_gym.evaluation.tables.simulators import render_simulators
from wm_gym.evaluation.tables.throughput import render_throughput
from wm_gym.evaluation.tables.verdicts import render_verdicts
from wm_gym.evaluation.tables.video import render_video
from wm_gym.files import replacing

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- results:(?P<name>[\w-]+) -->\n).*?(<!-- /results -->)", re.DOTALL)
OF_MANY: dict[str, Callable[[Path], str]] = {
    "zoo": render_zoo,
    "simulators": render_simulators,
    "throughput": render_throughput,
    "race": render_race,
    "verdicts": render_verdicts,
    "video": render_video,
    "learning": render_learning,
    "calibration": lambda results: render_calibration(results, coverage_line),
    "changes": lambda results: render_calibration(results, changes_line),
}
"""Marker of a table of many files -> what writes it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Update or check the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 where a table is out of date; write nothing")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    chosen = parser.parse_args(arguments)
    try:
        before = chosen.readme.read_text(encoding="utf-8")
        after = fill_tables(before, chosen.results)
    except (WorldModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if chosen.check:
        if after != before:
            print(f"error: {chosen.readme} is out of date; run python benchmarks/update_readme.py", file=sys.stderr)
        return int(after != before)
    with replacing(chosen.readme) as partial:
        partial.write_text(after, encoding="utf-8")
    print(f"{len(MARKED.findall(after))} tables in {chosen.readme}")
    return 0


def fill_tables(text: str, results: Path) -> str:
    """Replace what stands between each pair of markers.

    Raises:
        DataError: a marker names a result that does not exist or is damaged.
    """

    def table(found: re.Match[str]) -> str:
        if found["name"] in OF_MANY:
            return f"{found[1]}{OF_MANY[found['name']](results)}{found[3]}"
        path = results / f"{found['name']}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return f"{found[1]}{render_table(content)}{found[3]}"
        except OSError as error:
            known = ", ".join(sorted(p.stem for p in results.glob("*.json"))) or "none"
            raise DataError(f"results:{found['name']} has no file {path} (there are: {known})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} does not hold a table's rows ({type(error).__name__}: {error})") from error

    return MARKED.sub(table, text)


if __name__ == "__main__":
    sys.exit(main())
