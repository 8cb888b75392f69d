"""What is held, and whether the end of a process has the time to clear it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

from presence_manager.core.session import Known, Tally
from presence_manager.gate.budget import FIRST_BUDGET
from presence_manager.gate.door import shut_for
from presence_manager.hosts.cli.times import clock_time, spoken
from presence_manager.hosts.doctor.finding import Finding, ok, warn
from presence_manager.ports import Budget
from presence_manager.settings import Settings

_NAMED = 3
"""Tenants that are named in a line."""
_RENEWED_AFTER = 0.45
"""Of its lease, on average (`core.pair.shortest_lease`)."""


class Lane(NamedTuple):
    """One tenant: how many sessions it has, what is known of its budget, and how much is in use."""

    tenant: str
    sessions: int
    budget: Budget
    used: int


def size(known: Budget, found: Settings) -> int:
    """Requests in a window that the lane may send at present."""
    if found.graph.budget != "auto":
        return found.graph.budget
    return min(known.proven or FIRST_BUDGET, found.graph.budget_ceiling)


async def held(tallies: Sequence[Tally], now: float) -> Finding:
    """How many sessions there are, of whom, since when, and whether anybody still wants them."""
    tenants: Counter[str] = Counter()
    for each in tallies:
        tenants[each.tenant] += each.sessions
    if not tenants:
        return ok("held", "no session is held")
    oldest = spoken(max(0.0, now - min(each.oldest for each in tallies)))
    says = f"{_sessions(tenants.total())}, the oldest for {oldest}: {_of(tenants)}"
    left = sum(t.sessions for t in tallies if not t.held and t.known is not Known.ABSENT)
    if left:
        return warn(
            "held",
            f"{says}; {left:,} of them nobody holds any more, and they may still be shown",
            "unless a sweep is at work right now, `presence-manager recover` clears them",
        )
    return ok("held", says)


async def deadline(lanes: Iterable[Lane], found: Settings) -> Finding:
    """Whether the closing sweep can clear all within its deadline, if all were of one process.

    A tenant's budget is a number of requests in a sliding window, and renewals use up to half.
    """
    lanes = list(lanes)
    length, window = found.shutdown.deadline, found.graph.budget_window
    short = [
        (lane, can)
        for lane in lanes
        if lane.sessions > (can := clears(lane.sessions, size(lane.budget, found), length, found))
    ]
    if not short:
        return ok("deadline", f"{spoken(length)} (shutdown.deadline) are enough to clear them all")
    lane, can = max(short, key=lambda each: each[0].sessions - each[1])
    budget = size(lane.budget, found)
    needed = next(
        seconds
        for seconds in range(1, 1_000_000)
        if clears(lane.sessions, budget, float(seconds), found) >= lane.sessions
    )
    more = f" (and {len(short) - 1} more tenants)" if len(short) > 1 else ""
    return warn(
        "deadline",
        f"tenant {lane.tenant}{more}: {lane.sessions:,} held; {spoken(length)} at {budget:,} "
        f"requests in {window:g} s ({budget / window:g}/s) clears {can:,}",
        f"raise PRESENCE_SHUTDOWN__DEADLINE to {needed} s, and the platform's grace period above "
        f"it, or lower the lease (PRESENCE_HOLD__LEASE): what is left ends with it, or at the next "
        "start",
    )


def clears(sessions: int, budget: int, length: float, found: Settings) -> int:
    """How many requests may leave in `length` seconds, while slots used for renewals come free."""
    window = found.graph.budget_window
    lease = found.hold.lease
    renewals = inf if lease == "auto" else sessions * window / (_RENEWED_AFTER * lease)
    used = min(budget / 2, renewals)
    windows, rest = divmod(length, window)
    return int(budget * windows + budget - used * (1 - rest / window)) if length else 0


async def budgets(lanes: Iterable[Lane], found: Settings) -> Finding:
    """What each tenant's budget is, how much of it is in use, and whether Graph has refused."""
    now = time.time()
    lanes = sorted(lanes, key=lambda lane: (-shut_for(lane.budget, now), -lane.used))
    if not lanes:
        return ok("budget", f"{size(Budget(), found):,} requests {_window(found)}, none in use")
    says = "; ".join(_budget(lane, now, found) for lane in lanes[:_NAMED])
    if len(lanes) > _NAMED:
        says += f"; and {len(lanes) - _NAMED} more tenants"
    if shut_for(lanes[0].budget, now):
        do = "wait; where it comes again, another program uses the same application's quota"
        return warn("budget", says, do)
    return ok("budget", says)


def _budget(lane: Lane, now: float, found: Settings) -> str:
    number = size(lane.budget, found)
    fixed = found.graph.budget != "auto"
    why = "set" if fixed else "proven" if lane.budget.proven else "not yet learned"
    says = f"tenant {lane.tenant}: {number:,} {_window(found)} ({why}), {lane.used:,} in use"
    if left := shut_for(lane.budget, now):
        says += f", refused by Graph until {clock_time(now + left)}"
    return says


def _window(found: Settings) -> str:
    return f"in {found.graph.budget_window:g} s"


def _sessions(count: int) -> str:
    return "1 session is held" if count == 1 else f"{count:,} sessions are held"


def _of(tenants: Counter[str]) -> str:
    says = ", ".join(f"{count:,} in tenant {name}" for name, count in tenants.most_common(_NAMED))
    more = len(tenants) - _NAMED
    return f"{says}, ... in {more} more" if more > 0 else says
