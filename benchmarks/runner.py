"""Runs the scenarios: contenders by turns, A B C A B C, each a fresh process and ledger."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import Any

from benchmarks.graph.ids import user_id
from benchmarks.judge import Judgement, judge
from benchmarks.process import Failed, GraphServer, new_folder, run
from benchmarks.scenarios import MODULES, Scenario

Say = Callable[[str], None]
WINDOW = 31.0
"""Seconds after which nothing that was sent counts any more in a limit's window."""


@dataclass(slots=True)
class Record:
    """One contender in one scenario: a dict of figures for each measured run."""

    scenario: str
    contender: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    failed: str = ""

    def figure(self, name: str) -> float:
        """Return the median over the runs."""
        return float(median(each[name] for each in self.runs))

    @property
    def judgement(self) -> Judgement:
        """What was wrong in all measured runs together."""
        return sum((Judgement(**each["judgement"]) for each in self.runs), Judgement())


def say(text: str) -> None:
    """Tell how it goes."""
    print(text, file=sys.stderr, flush=True)


def missing(contender: str) -> str:
    """Return the first module that a contender needs and that is not installed."""
    return next((name for name in MODULES.get(contender, ()) if find_spec(name) is None), "")


def installed(contenders: Sequence[str], say: Say = say) -> tuple[str, ...]:
    """Return those that can run; say a word of the others."""
    found = []
    for contender in contenders:
        if module := missing(contender):
            say(f"{contender} is left out: {module} is not installed (pip install '.[bench]')")
        else:
            found.append(contender)
    return tuple(found)


def run_scenario(
    scenario: Scenario, contenders: Sequence[str], *, runs: int, warm_up: bool, say: Say = say
) -> list[Record]:
    """Run one scenario with those of its contenders that are wanted."""
    chosen = [each for each in scenario.contenders if each in contenders]
    names = [f"{scenario.name}-first", f"{scenario.name}-again"]
    if not scenario.again:
        names = [scenario.name]
    records = {(name, each): Record(name, each) for name in names for each in chosen}
    if scenario.waits:
        runs, warm_up = 1, False
    with GraphServer() as server:
        for number in range(runs + warm_up):
            for contender in chosen:
                if any(records[name, contender].failed for name in names):
                    continue
                with new_folder() as folder:
                    for name in names:
                        if name is not names[0]:
                            time.sleep(WINDOW)
                        record = records[name, contender]
                        measured = number >= warm_up
                        plan = {**scenario.plan, "seed": number}  # other faults in each round
                        server.begin(plan, scenario.users, scenario.tenants)
                        _one(server, scenario, record, folder, measured=measured)
                        _tell(record, say if measured else lambda _: None)
                        if record.failed:
                            break
    return list(records.values())


def _tell(record: Record, say: Say) -> None:
    start = f"{record.scenario:18} {record.contender:15}"
    if record.failed:
        say(f"{start} failed: {record.failed}")
        return
    last = record.runs[-1] if record.runs else None
    if last is not None:
        bad = {name: number for name, number in last["judgement"].items() if number}
        say(f"{start} {last['seconds']:9.3f} s  refused {last['refused']:,}  {bad or ''}")


def _one(
    server: GraphServer, scenario: Scenario, record: Record, folder: str, *, measured: bool
) -> None:
    users, tenants = scenario.users, scenario.tenants
    given = {"url": server.url, "users": users, "tenants": tenants, "folder": folder}
    try:
        found = run(f"benchmarks.contenders.{record.contender}", {**given, **scenario.how})
    except Failed as error:
        record.failed = str(error)
        return
    truth = server.truth()
    asked = [user_id(user, tenant) for tenant in range(tenants) for user in range(users)]
    judgement = judge(asked, found.pop("outcomes"), truth)
    if measured:
        kept = ("requests", "http_requests", "refused", "connections", "highest_in_flight")
        figures = {name: truth[name] for name in kept}
        record.runs.append({**found, **figures, "judgement": asdict(judgement)})


def run_side_by_side(
    scenarios: Sequence[Scenario], contenders: Sequence[str], say: Say = say
) -> Iterator[list[Record]]:
    """Run those that wait at the same time, every contender with a server of its own."""
    pairs = [
        (scenario, each)
        for scenario in scenarios
        for each in scenario.contenders
        if each in contenders
    ]
    if not pairs:
        return
    with ThreadPoolExecutor(len(pairs)) as pool:
        yield from pool.map(
            lambda pair: run_scenario(pair[0], [pair[1]], runs=1, warm_up=False, say=say), pairs
        )
