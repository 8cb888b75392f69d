"""Clause 13 of `ports.Sessions`: sessions are counted by what they have in common."""

from __future__ import annotations

from math import inf

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Known, Session, Step, Tally, Wish
from presence_manager.ports import Ledger

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
