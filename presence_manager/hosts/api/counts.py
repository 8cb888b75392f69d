"""How many: sessions by tenant and state, outcomes by time and kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import time

from aiohttp import web
from pydantic import AwareDatetime, Field
from typing_extensions import TypedDict

from presence_manager.core.session import Known, Tally
from presence_manager.hosts.api import problems
from presence_manager.hosts.api.call import Call, Query, answer
from presence_manager.hosts.api.problems import Problem
from presence_manager.hosts.api.states import State, state_of
from presence_manager.hosts.shapes import iso

MOST_INTERVALS = 1_500
DAY = 86_400.0


class SessionCount(TypedDict):
    """Sessions that are alike; tracked ones, which other code has set, have no pair."""

    tenant: str
    state: State
    availability: str | None
    activity: str | None
    sessions: int
    due: int


class SessionCounts(TypedDict):
    """All sessions of the ledger, counted; `due` want renewal within a minute."""

    counts: list[SessionCount]


class HistoryQuery(Query):
    """Of which time, and how finely."""

    since: AwareDatetime | None = Field(
        default=None,
        description="an instant, for example 2026-11-24T09:30:00Z; a day ago by default",
    )
    interval: float = Field(default=300.0, ge=1, le=DAY, description="seconds")


class OutcomeCount(TypedDict):
    """Outcomes of one kind in the interval that begins `at`."""

    at: str | None
    kind: str
    outcomes: int


class OutcomeCounts(TypedDict):
    """What became of sessions since an instant, counted; intervals without any are left out."""

    since: str | None
    interval: float
    counts: list[OutcomeCount]


async def count_sessions(call: Call[None, None]) -> web.StreamResponse:
    """Say how many sessions there are, by tenant, state and pair."""
    found: SessionCounts = {"counts": _counts(await call.service.counting.tallies())}
    return answer(found)


def _counts(tallies: Sequence[Tally]) -> list[SessionCount]:
    sessions: Counter[tuple[str, State, str | None, str | None]] = Counter()
    due: Counter[tuple[str, State, str | None, str | None]] = Counter()
    for each in tallies:
        if each.held or each.known is not Known.ABSENT:  # else it is over, or all but over
            pair = each.pair
            like = (
                each.tenant,
                state_of(each.known, held=each.held),
                pair.availability if pair else None,
                pair.activity if pair else None,
            )
            sessions[like] += each.sessions
            due[like] += each.due
    return [
        {
            "tenant": tenant,
            "state": state,
            "availability": availability,
            "activity": activity,
            "sessions": count,
            "due": due[tenant, state, availability, activity],
        }
        for (tenant, state, availability, activity), count in sessions.items()
    ]


async def count_outcomes(call: Call[None, HistoryQuery]) -> web.StreamResponse:
    """Say how many outcomes of each kind there were, by time."""
    now, interval = time(), call.query.interval
    since = now - DAY if call.query.since is None else call.query.since.timestamp()
    if (now - since) / interval > MOST_INTERVALS:
        raise Problem(
            problems.INVALID_REQUEST,
            f"more than {MOST_INTERVALS:,} intervals: take longer ones, or a later instant",
        )
    counted = await call.service.presence.pages.history(since, interval)
    found: OutcomeCounts = {
        "since": iso(since),
        "interval": interval,
        "counts": [
            {"at": iso(since + number * interval), "kind": str(kind), "outcomes": count}
            for number, kind, count in counted
        ],
    }
    return answer(found)
