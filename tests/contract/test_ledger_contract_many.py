"""Many rows at a time, most of them alike: the same clauses, on every ledger."""

from __future__ import annotations

from typing import Any

import pytest

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Known, Session, Step
from presence_manager.core.verdict import Verb
from presence_manager.errors import LedgerError
from presence_manager.ports import Ledger, Query, Scope

ORIGIN, APP = "https://graph.microsoft.com", "app-1"
ALL = Query(origin=ORIGIN, app=APP)
OWN = Scope(origin=ORIGIN, app=APP)
LANES = [LaneId(ORIGIN, APP, "tenant-1"), LaneId(ORIGIN, APP, "tenant-2")]
ODD = ['"', "\\", "'", "a\0b", "\\u0000", "ü\u2028\n", "", "{}"]


def keys(count: int) -> list[Key]:
    """In runs of seven that share a lane."""
    return [Key(LANES[n // 7 % 2], f"user-{n:03}") for n in range(count)]


def clearing(key: Key, number: int | None, **fields: Any) -> Session:
    attempt = None
    if number is not None:
        attempt = Attempt(verb=Verb.CLEAR, owner="me", number=number, send_by=9.0)
    return Session(
        key=key,
        version=5,
        owner="me",
        known=Known.UNSURE,
        may_live_until=77.5,
        attempt=attempt,
        sweeps=("sweep-1",),
        **fields,
    )


def gone(key: Key, **fields: Any) -> Outcome:
    return Outcome(key=key, kind=Kind.CLEARED, sweep_id="sweep-1", at=7.0, owner="me", **fields)


async def kept(ledger: Ledger) -> dict[Key, Outcome]:
    return {outcome.key: outcome for _, outcome in await ledger.outcomes(ALL, 0, 999)}


async def test_9_rows_that_are_alike_come_back_as_they_were_put(ledger: Ledger) -> None:
    rows = [clearing(key, n) for n, key in enumerate(keys(40))]
    rows[3] = rows[3]._replace(may_live_until=8.0)
    rows[20:30] = [row._replace(attempt=None) for row in rows[20:30]]
    assert await ledger.put([Step(0, row) for row in rows]) == {}
    assert await ledger.get(keys(40)) == rows
    assert len(await ledger.page(OWN, None, 99)) == 40


async def test_2_of_rows_that_are_alike_each_wins_or_loses_for_itself(ledger: Ledger) -> None:
    standing = clearing(keys(40)[12], 1)._replace(version=3)
    await ledger.put([Step(0, standing)])
    steps = [Step(0, clearing(key, n), (gone(key),)) for n, key in enumerate(keys(40))]
    assert await ledger.put(steps) == {12: standing}
    rows = await ledger.get(keys(40))
    assert [n for n, row in enumerate(rows) if row != steps[n].row] == [12]
    assert set(await kept(ledger)) == {*keys(40)} - {standing.key}


async def test_5_of_outcomes_that_are_alike_the_final_ones_stay(ledger: Ledger) -> None:
    final, other = keys(40)[9], keys(40)[11]
    first = (gone(final, reason="first"), gone(other)._replace(kind=Kind.UNFINISHED))
    await ledger.put([Step(0, clearing(o.key, None), (o,), delete=True) for o in first])
    await ledger.put([Step(0, clearing(key, 1), (gone(key),), delete=True) for key in keys(40)])
    assert await kept(ledger) == {**{key: gone(key) for key in keys(40)}, final: first[0]}


@pytest.mark.parametrize("odd", ODD)
async def test_9_what_graph_calls_its_requests_comes_back_too(ledger: Ledger, odd: str) -> None:
    told = [gone(key, request_id=f"{odd}{n}{odd}") for n, key in enumerate(keys(20))]
    await ledger.put([Step(0, clearing(o.key, None), (o,), delete=True) for o in told])
    assert await kept(ledger) == {outcome.key: outcome for outcome in told}


@pytest.mark.parametrize("odd", ODD)
async def test_9_and_any_name_of_a_user(ledger: Ledger, odd: str) -> None:
    odd_keys = [Key(LANES[0], f"{odd}{n}{odd}") for n in range(20)]
    rows = [clearing(key, n) for n, key in enumerate(odd_keys)]
    assert await ledger.put([Step(0, row, (gone(row.key),)) for row in rows]) == {}
    assert await ledger.get(odd_keys) == rows
    assert {*await kept(ledger)} == {*odd_keys}


async def test_6_what_is_no_unicode_is_refused_as_a_whole(ledger: Ledger) -> None:
    rows = [clearing(Key(LANES[0], f"user-{n}"), n) for n in range(9)]
    rows.append(clearing(Key(LANES[0], "\ud800"), 9))
    try:
        lost = await ledger.put([Step(0, row) for row in rows])
    except LedgerError:
        assert await ledger.page(OWN, None, 99) == []
    else:  # one that keeps them in memory may take it
        assert lost == {}
