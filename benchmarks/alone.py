"""What is measured of ours alone: no peer does these things."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

from benchmarks.graph.ids import user_id
from benchmarks.judge import judge
from benchmarks.process import ROOT, Failed, GraphServer, cores, environment, new_folder, run

QUIET = {"journal": False}
"""A plan for many sessions: the server counts them, and keeps no journal."""


class Figure(NamedTuple):
    """One figure of a scenario; `shown` is how people read it."""

    scenario: str
    name: str
    value: float
    shown: str


@contextmanager
def stage(**given: Any) -> Iterator[tuple[GraphServer, dict[str, Any]]]:
    """A server without sessions, and what a run of ours is given, with a folder for its ledger."""
    with GraphServer() as server, new_folder() as folder:
        server.begin(QUIET, 0)
        yield server, {"url": server.url, "users": 0, "folder": folder, **given}


def hold_many(runs: int, small: bool) -> list[Figure]:
    """Hold 10,000 at once, and clear them at the close."""
    users = 1_000 if small else 10_000
    holds, sweeps, wrong = [], [], 0
    with GraphServer() as server:
        for number in range(runs + (not small)):
            with new_folder() as folder:
                server.begin({}, 0)
                found = run(
                    "benchmarks.own.hold_many",
                    {"url": server.url, "users": users, "folder": folder},
                )
            told = found["outcomes"]
            asked = [user_id(user) for user in range(users)]
            judgement = judge(asked, told, server.truth())
            wrong += judgement.wrong + judgement.left + judgement.unreported
            if number or small:
                holds.append(found["facts"]["hold"])
                sweeps.append(found["facts"]["sweep"])
    hold, sweep = median(holds), median(sweeps)
    name = "hold-many"
    return [
        Figure(name, f"hold_many of {users:,}", hold, f"{hold:.3f} s"),
        Figure(name, "the closing sweep", sweep, f"{sweep:.3f} s"),
        Figure(name, "hold_many to the sweep", hold / sweep, f"{hold / sweep:.2f}"),
        Figure(name, "wrong, left over or not told of", wrong, str(wrong)),
    ]


def imports(runs: int, small: bool) -> list[Figure]:
    """Import it, and aiohttp, in fresh interpreters by turns."""
    del runs
    core = cores()[0]
    pin = "" if core is None else f"import os; os.sched_setaffinity(0, {{{core}}}); "
    code = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    ours, names = (
        "import presence_manager",
        "from presence_manager import PresenceManager, Settings",
    )
    theirs = "import aiohttp"
    seconds: dict[str, list[float]] = {ours: [], names: [], theirs: []}
    for _ in range(3 if small else 16):
        for statement, taken in seconds.items():
            command = [sys.executable, "-c", pin + code.format(statement)]
            answer = subprocess.run(
                command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
            )
            taken.append(float(answer.stdout))
    found = {statement: median(taken[1:]) for statement, taken in seconds.items()}
    figures = [
        Figure("import", f"`{statement}`", value, f"{value * 1000:.0f} ms")
        for statement, value in found.items()
    ]
    for text, statement in (("the first", ours), ("the second", names)):
        ratio = found[statement] / found[theirs]
        figures.append(Figure("import", f"{text} to aiohttp", ratio, f"{ratio:.2f}"))
    return figures


def memory(runs: int, small: bool) -> list[Figure]:
    """Hold 100,000, and see what each takes."""
    del runs
    count = 10_000 if small else 100_000
    with stage(sessions=count) as (_, given):
        value = run("benchmarks.own.memory", given)["facts"]["bytes"]
    return [Figure("memory", f"a session, of {count:,} held", value, f"{value:,.0f} bytes")]


def idle(runs: int, small: bool) -> list[Figure]:
    """Hold 10,000, and do nothing."""
    del runs
    seconds = 2 if small else 20
    with stage(sessions=10_000, quiet=seconds) as (_, given):
        facts = run("benchmarks.own.idle", given)["facts"]
    cpu = facts["cpu"]
    share = f"{cpu:.3f} s ({cpu / seconds:.2%} of a core)"
    return [Figure("idle", f"CPU in {seconds} s with 10,000 held", cpu, share)]


def recovery(runs: int, small: bool) -> list[Figure]:
    """Kill a process that holds 100,000, and open its ledger."""
    del runs
    count = 10_000 if small else 100_000
    with stage(sessions=count) as (server, given):
        run("benchmarks.own.memory", {**given, "die": True}, killed=True)
        server.begin(QUIET, count)
        facts = run("benchmarks.own.recovery", given)["facts"]
        counters = server.counters()
    first, whole = counters["first"] - facts["opened"], facts["seconds"]
    name = "recovery"
    return [
        Figure(name, "from open() to the first request", first, f"{first:.3f} s"),
        Figure(name, f"until all {count:,} are seen to", whole, f"{whole:.2f} s"),
        Figure(name, "still shown after it", counters["live"], f"{counters['live']:,}"),
    ]


def scale(runs: int, small: bool, million: bool = False) -> list[Figure]:
    """Hold, renew and sweep more and more sessions."""
    del runs
    sizes = [(1_000, 1), (10_000, 1)] + ([] if small else [(100_000, 1)])
    if million:
        sizes.append((1_000_000, 1_000))
    found = []
    for count, tenants in sizes:
        with stage(tenants=tenants, sessions=count) as (server, given):
            answer = run("benchmarks.own.scale", given)
            if live := server.counters()["live"]:
                raise Failed(f"{live:,} of {count:,} are still shown")
        for what, seconds in answer["facts"].items():
            each = seconds / count * 1e6
            found.append(Figure("scale", f"{what}, {count:,}", each, f"{each:.0f} µs a session"))
        peak = answer["peak_mib"]
        found.append(Figure("scale", f"peak memory, {count:,}", peak, f"{peak:.0f} MiB"))
    return found


RUNS: dict[str, Callable[..., list[Figure]]] = {
    "hold-many": hold_many,
    "import": imports,
    "memory": memory,
    "idle": idle,
    "recovery": recovery,
    "scale": scale,
}
