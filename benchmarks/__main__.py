"""Measure presence-manager beside its peers.

python -m benchmarks            all of it, about twenty minutes; writes RESULTS.md
python -m benchmarks --quick    a tenth of the users, once, nothing that waits; prints only
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.alone import RUNS, Figure
from benchmarks.chart import svg
from benchmarks.process import Failed, in_memory
from benchmarks.report import markdown
from benchmarks.runner import Record, installed, missing, run_scenario, run_side_by_side, say
from benchmarks.scenarios import ALONE, CONTENDERS, SCENARIOS

HERE = Path(__file__).parent


class Results:
    """What has been measured so far; kept in a file, if one is named, to go on from."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        found: dict[str, Any] = {"done": [], "records": [], "figures": []}
        if path is not None and path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
        self.done: list[str] = found["done"]
        self.records = [Record(**each) for each in found["records"]]
        self.figures = [Figure(*each) for each in found["figures"]]

    def add(self, name: str, records: list[Record], figures: list[Figure]) -> None:
        """Keep what was measured in a scenario."""
        self.done.append(name)
        self.records += records
        self.figures += figures
        if self._path is not None:
            records_ = [asdict(each) for each in self.records]
            found = {"done": self.done, "records": records_, "figures": self.figures}
            self._path.write_text(json.dumps(found), encoding="utf-8")

    def ordered(self) -> tuple[list[Record], list[Figure]]:
        """Return all in the order of the scenarios."""
        names = [each.name for each in SCENARIOS]
        places = {name: place for place, name in enumerate(names)}
        places |= {f"{name}-{end}": places[name] for name in names for end in ("first", "again")}
        order = list(ALONE)
        return (
            sorted(self.records, key=lambda each: places[each.scenario]),
            sorted(self.figures, key=lambda each: order.index(each.scenario)),
        )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    names = [*(each.name for each in SCENARIOS), *ALONE]
    words = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"Scenarios: {', '.join(names)}. Ledgers lie below TMPDIR.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("--quick", action="store_true", help="small, and once")
    words.add_argument("--runs", type=int, default=3, help="measured runs of each (3)")
    words.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="these scenarios")
    words.add_argument("--peers", help="these contenders, with commas between")
    words.add_argument("--million", action="store_true", help="scale: a million sessions as well")
    words.add_argument("--raw", type=Path, help="keep all figures in this file, and go on from it")
    words.add_argument("--write", action="store_true", help="write RESULTS.md in any case")
    given = words.parse_args()
    given.peers = given.peers.split(",") if given.peers else list(CONTENDERS)
    if unknown := set(given.peers) - set(CONTENDERS):
        words.error(f"no such contender: {', '.join(sorted(unknown))}")
    given.runs = 1 if given.quick else max(1, given.runs)
    return given


def measure(given: argparse.Namespace, results: Results) -> None:
    """Run what is asked for and not yet done."""
    contenders = installed(given.peers)
    chosen = [
        each.smaller() if given.quick else each
        for each in SCENARIOS
        if each.name not in results.done
        and (each.name in given.only if given.only else not (given.quick and each.slow))
    ]
    for scenario in chosen:
        if not scenario.waits:
            found = run_scenario(scenario, contenders, runs=given.runs, warm_up=not given.quick)
            results.add(scenario.name, found, [])
    waiting = [each for each in chosen if each.waits]
    by_name: dict[str, list[Record]] = {each.name: [] for each in waiting}
    for records in run_side_by_side(waiting, contenders):
        by_name[records[0].scenario] += records
    for name, records in by_name.items():
        results.add(name, records, [])
    for name, measured in RUNS.items():
        if name in results.done or name not in (given.only or ALONE) or "ours" not in contenders:
            continue
        more = {"million": given.million} if name == "scale" else {}
        try:
            figures = measured(given.runs, given.quick, **more)
        except Failed as error:
            figures = [Figure(name, "failed", 0.0, str(error))]
        for figure in figures:
            say(f"{name:18} {figure.name}: {figure.shown}")
        results.add(name, [], figures)


def main() -> None:
    """Run from the command line."""
    given = arguments()
    if in_memory(tempfile.gettempdir()):
        say("TMPDIR lies in memory: the ledgers are faster here than on a disk")
    results = Results(given.raw)
    measure(given, results)
    records, figures = results.ordered()
    absent = {name: module for name in given.peers if (module := missing(name))}
    page = markdown(records, figures, absent, given.runs)
    whole = not given.quick and not given.only and set(given.peers) == set(CONTENDERS)
    if whole or given.write:
        (HERE / "RESULTS.md").write_text(page, encoding="utf-8")
        if chart := svg(records):
            (HERE / "results.svg").write_text(chart, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
