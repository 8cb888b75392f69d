"""Clauses 13 and 14 of `ports.Sessions`: sessions are counted, and looked for."""

from __future__ import annotations

from math import inf

import pytest

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Known, Session, Step, Tally, Wish
from presence_manager.ports import Ledger, Search

ORIGIN, APP = "https://graph.microsoft.com", "app-1"
ONE, TWO = LaneId(ORIGIN, APP, "tenant-1"), LaneId(ORIGIN, APP, "tenant-2")
CALL = PAIRS[1]


def row(user: str, lane: LaneId = ONE, *, born: float = 1.0, held: bool = True, **fields: object):
    wishes = (Wish(name="w", owner="me", pair=CALL, lease=600.0, made_at=born),) if held else ()
    version = int(born * 1e6)
    return Session(key=Key(lane, user), version=version, wishes=wishes, **fields)  # type: ignore[arg-type]


def shown(user: str, lane: LaneId = ONE, **fields: object) -> Session:
    return row(user, lane, known=Known.SHOWN, pair=CALL, **fields)


async def test_13_tally_counts_what_is_alike(ledger: Ledger) -> None:
    rows = [
        shown("a", born=30.5, due=100.0),
        shown("b", born=20.25, due=100.001),
        shown("c", born=40.0, due=inf),
        shown("d", born=50.0, held=False),
        row("e", known=Known.SHOWN, pair=PAIRS[4]),
        row("f"),
        row("g", known=Known.UNSURE),
        shown("a", TWO, born=60.0, due=99.0),
        shown("a", LaneId(ORIGIN, "app-2", "tenant-1")),
        shown("a", LaneId("https://emulator", APP, "tenant-1")),
    ]
    await ledger.put([Step(0, session, wishes=True) for session in rows])
    found = await ledger.tally(ORIGIN, APP, 100.0)
    assert found == [
        Tally("tenant-1", Known.ABSENT, None, True, 1, 0, 1.0),
        Tally("tenant-1", Known.SHOWN, CALL, False, 1, 0, 50.0),
        Tally("tenant-1", Known.SHOWN, CALL, True, 3, 1, 20.25),
        Tally("tenant-1", Known.SHOWN, PAIRS[4], True, 1, 0, 1.0),
        Tally("tenant-1", Known.UNSURE, None, True, 1, 0, 1.0),
        Tally("tenant-2", Known.SHOWN, CALL, True, 1, 1, 60.0),
    ]
    assert all(each.held in (True, False) for each in found)


async def test_13_nothing_is_no_tally(ledger: Ledger) -> None:
    assert await ledger.tally(ORIGIN, APP, inf) == []
    await ledger.put([Step(0, shown("a"), wishes=True)])
    await ledger.put([Step(1_000_000, shown("a"), delete=True)])
    assert await ledger.tally(ORIGIN, APP, inf) == []


def names(*names: str) -> tuple[Wish, ...]:
    return tuple(Wish(name=name, owner="me", pair=CALL, lease=600.0, made_at=1.0) for name in names)


@pytest.mark.parametrize(
    ("narrow", "found"),
    [
        ({}, "1:aa11 1:ab22 1:bb33 1:cc44 2:aa11"),
        ({"text": "a"}, "1:aa11 1:ab22 1:bb33 2:aa11"),
        ({"text": "AB"}, "1:ab22"),
        ({"text": "a1"}, ""),
        ({"text": "call-1"}, "1:aa11 1:ab22"),
        ({"text": "Call-1"}, ""),
        ({"text": "100%"}, "1:bb33"),
        ({"text": "_"}, ""),
        ({"text": "a", "tenant": "tenant-2"}, "2:aa11"),
        ({"known": Known.UNSURE}, "1:bb33 1:cc44"),
        ({"held": False}, "1:cc44"),
        ({"known": Known.UNSURE, "held": True, "text": "b"}, "1:bb33"),
        ({"known": Known.SHOWN, "text": "b"}, ""),
        ({"app": "app-2"}, "1:aa99"),
    ],
)
async def test_14_search_answers_what_is_looked_for(
    ledger: Ledger, narrow: dict[str, object], found: str
) -> None:
    rows = [
        shown("aa11")._replace(wishes=names("call-1")),
        shown("ab22")._replace(wishes=names("x", "call-17")),
        row("bb33", known=Known.UNSURE)._replace(wishes=names("a 100% sure 'a\"")),
        row("cc44", known=Known.UNSURE, held=False),
        shown("aa11", TWO),
        shown("aa99", LaneId(ORIGIN, "app-2", "tenant-1")),
    ]
    await ledger.put([Step(0, session, wishes=True) for session in rows])
    search = Search(**{"origin": ORIGIN, "app": APP} | narrow)  # type: ignore[arg-type]
    everything = await ledger.search(search, None, 9)
    assert " ".join(f"{each.tenant[-1]}:{each.user}" for each in everything) == found
    assert set(everything) <= set(rows)
    paged: list[Session] = []
    while page := await ledger.search(search, paged[-1].key if paged else None, 1):
        paged += page
    assert paged == everything
    assert await ledger.search(search, None, 0) == []
