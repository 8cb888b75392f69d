"""python -m tests.crash: kill on, print what breaks and how to repeat it."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from math import inf
from pathlib import Path
from random import Random

from .plan import Case, Death, draw
from .run import Result, Stage

AT_ONCE = 8
"""Cases at work at a time: most of a case is waiting."""
STORIES = 6
"""Stories that share a survey."""
ENOUGH = 5
"""Failures after which it stops."""


async def kill(stage: Stage, n: int, seed: int, tally: Counter[str]) -> list[Result]:
    """Kill `n` times, with fresh stories after every few hundred; return what broke."""
    random = Random(seed)
    failures: list[Result] = []
    while tally["kills"] < n and len(failures) < ENOUGH:
        stories = random.sample(range(1_000_000), STORIES // 2)
        surveys = await asyncio.gather(
            *(stage.survey(2 * story + foul) for story in stories for foul in (0, 1))
        )
        goal = min(n, tally["kills"] + 500)
        cases = draw(list(surveys), random)

        await asyncio.gather(*(_work(stage, cases, goal, tally, failures) for _ in range(AT_ONCE)))
    return failures


async def repeat(stage: Stage, asked: argparse.Namespace, tally: Counter[str]) -> list[Result]:
    """Run one case, as often as asked."""
    deaths = []
    for point, at in zip(asked.point, asked.at, strict=True):
        role, _, name = point.partition(":")
        deaths.append(Death(role, name, at))
    cases = (
        Case(asked.story, tuple(deaths), asked.older, asked.sibling, turn=asked.turn + turn)
        for turn in range(asked.times)
    )
    failures: list[Result] = []
    await asyncio.gather(*(_work(stage, cases, inf, tally, failures) for _ in range(AT_ONCE)))
    return failures


async def _work(
    stage: Stage, cases: Iterator[Case], goal: float, tally: Counter[str], failures: list[Result]
) -> None:
    while tally["kills"] < goal and len(failures) < ENOUGH:
        case = next(cases, None)
        if case is None:
            return
        result = await stage.run(case)
        tally["cases"] += 1
        tally["kills"] += result.kills
        tally.update(death.point for death in case.deaths[-1:])
        if result.breaches:
            failures.append(result)
            print(f"\n{result}", flush=True)


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, help="of the plan; fresh by default")
    parser.add_argument("--story", type=int, help="with --point and --at: this case alone")
    parser.add_argument("--point", action="append", default=[], help="role:point, once per death")
    parser.add_argument("--at", action="append", default=[], type=float)
    parser.add_argument("--older", action="store_true", help="an older ledger in between")
    parser.add_argument("--sibling", action="store_true", help="beside a living process")
    parser.add_argument("--turn", type=int, default=0, help="chance is drawn from it, too")
    parser.add_argument("--times", type=int, default=1, help="how often to run --story")
    asked = parser.parse_args()
    seed = secrets.randbelow(10**9) if asked.seed is None else asked.seed
    started = time.monotonic()
    tally: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    async with Stage(folder) as stage:
        if asked.story is None:
            failures = await kill(stage, asked.kills, seed, tally)
        else:
            failures = await repeat(stage, asked, tally)
    if not failures:  # the folders of those that failed are for whoever has to find out
        shutil.rmtree(folder)
    kills, cases = tally.pop("kills"), tally.pop("cases")
    print(
        f"seed {seed}: {kills} kills in {cases} cases at {len(tally)} points, "
        f"{len(failures)} failed, {time.monotonic() - started:.1f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
