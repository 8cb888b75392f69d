"""The clauses of `ports.Sessions`, by their numbers, on every ledger."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Attempt, Known, Session, Step, Wish
from presence_manager.core.verdict import Verb
from presence_manager.errors import LedgerError
from presence_manager.ports import Ledger, Query, Scope

ORIGIN, APP = "https://graph.microsoft.com", "app-1"
LANE = LaneId(ORIGIN, APP, "tenant-1")
ALL = Query(origin=ORIGIN, app=APP)
OWN = Scope(origin=ORIGIN, app=APP)


def key(user: str, lane: LaneId = LANE) -> Key:
    return Key(lane, user)


def row(user: str, version: int = 1, lane: LaneId = LANE, **fields: object) -> Session:
    return Session(key=key(user, lane), version=version, **fields)  # type: ignore[arg-type]


def wish(name: str, owner: str = "me", **fields: object) -> Wish:
    return Wish(name=name, owner=owner, pair=PAIRS[1], lease=600.0, made_at=5.0, **fields)  # type: ignore[arg-type]


def outcome(user: str, kind: Kind, sweep: str = "sweep-1", **fields: object) -> Outcome:
    return Outcome(key=key(user), kind=kind, sweep_id=sweep, at=7.0, **fields)  # type: ignore[arg-type]


async def kinds(ledger: Ledger) -> list[tuple[str, str, Kind]]:
    return [(o.user, o.sweep_id, o.kind) for _, o in await ledger.outcomes(ALL, 0, 100)]


async def users(ledger: Ledger, scope: Scope, after: Key | None = None, limit: int = 99) -> str:
    return " ".join(session.key.user for session in await ledger.page(scope, after, limit))


FULL = row(
    "full",
    version=2**62,
    owner="me",
    clock="you",
    wishes=(
        wish("b", until=1e9),
        wish("ä\0\n'", owner=""),
        Wish(name="tracked", owner="me", pair=None, lease=0.0, made_at=0.1, until=0.3),
    ),
    known=Known.SHOWN,
    pair=PAIRS[4],
    due=1760000000.123456,
    may_live_until=inf,
    attempt=Attempt(
        verb=Verb.SET, owner="me", number=7, send_by=12.5, wish="b", pair=PAIRS[0], lease=300.0
    ),
    sets_settle=3.25,
    clears_settle=4.5,
    doubt=True,
    answer=Kind.GONE_AFTER_RETRY,
    attempts=3,
    sweeps=("one", "two"),
)


async def test_1_get_answers_one_row_per_key_in_order(ledger: Ledger) -> None:
    await ledger.put([Step(0, row("a")), Step(0, row("c"))])
    got = await ledger.get([key("c"), key("b"), key("a"), key("c")])
    assert got == [row("c"), Session(key=key("b")), row("a"), row("c")]
    assert got[1].version == 0
    assert await ledger.get([]) == []


async def test_1_a_lane_that_nobody_knows_gives_blanks(ledger: Ledger) -> None:
    other = key("a", LaneId("https://elsewhere", APP, "tenant-1"))
    assert await ledger.get([other]) == [Session(key=other)]


async def test_2_put_applies_the_steps_that_expect_rightly(ledger: Ledger) -> None:
    await ledger.put([Step(0, row(user, 5)) for user in ("same", "ahead", "behind", "gone", "old")])
    lost = await ledger.put(
        [
            Step(5, row("same", 6)),
            Step(4, row("behind", 9)),
            Step(6, row("ahead", 9)),
            Step(5, row("gone", 6), delete=True),
            Step(4, row("old", 6), delete=True),
            Step(0, row("new", 1)),
            Step(1, row("none", 2)),
        ]
    )
    assert sorted(lost) == [1, 2, 4, 6]
    kept = await ledger.page(OWN, None, 99)
    assert {r.key.user: r.version for r in kept} == {
        "same": 6,
        "behind": 5,
        "ahead": 5,
        "old": 5,
        "new": 1,
    }


@pytest.mark.parametrize(("stands", "expected", "wins"), [(0, 0, 1), (0, 1, 0), (1, 0, 0)])
@pytest.mark.parametrize("delete", [False, True])
async def test_2_expected_0_is_for_rows_that_are_not_there(
    ledger: Ledger, stands: int, expected: int, wins: int, delete: bool
) -> None:
    if stands:
        await ledger.put([Step(0, row("a", stands))])
    lost = await ledger.put([Step(expected, row("a", 9), delete=delete)])
    assert bool(lost) != bool(wins)
    (now,) = await ledger.get([key("a")])
    assert now.version == (9 if wins and not delete else stands)


async def test_2_of_two_that_expect_the_same_one_wins(ledger: Ledger) -> None:
    await ledger.put([Step(0, row("a"))])
    first, second = await asyncio.gather(
        ledger.put([Step(1, row("a", 2, owner="first"))]),
        ledger.put([Step(1, row("a", 2, owner="second"))]),
    )
    assert sorted([len(first), len(second)]) == [0, 1]
    (now,) = await ledger.get([key("a")])
    assert now.owner == ("first" if not first else "second")


async def test_3_put_answers_the_rows_that_stood_in_the_way(ledger: Ledger) -> None:
    standing = row("a", 5, owner="other", wishes=(wish("x"),))
    await ledger.put([Step(0, standing, wishes=True)])
    lost = await ledger.put(
        [Step(0, row("b")), Step(4, row("a", 6)), Step(3, row("none", 4), delete=True)]
    )
    assert lost == {1: standing, 2: Session(key=key("none"))}
    assert await ledger.put([]) == {}


async def test_4_outcomes_are_written_if_and_only_if_the_step_wins(ledger: Ledger) -> None:
    await ledger.put([Step(0, row("a", 5)), Step(0, row("b", 5))])
    await ledger.put(
        [
            Step(5, row("a", 6), (outcome("a", Kind.CLEARED),), delete=True),
            Step(4, row("b", 6), (outcome("b", Kind.CLEARED),), delete=True),
            Step(0, row("c"), (outcome("c", Kind.NEVER_SET),), delete=True),
            Step(2, row("d", 3), (outcome("d", Kind.NEVER_SET),), delete=True),
        ]
    )
    assert await kinds(ledger) == [
        ("a", "sweep-1", Kind.CLEARED),
        ("c", "sweep-1", Kind.NEVER_SET),
    ]


@pytest.mark.parametrize("second", list(Kind))
@pytest.mark.parametrize("first", list(Kind))
async def test_5_only_an_outcome_that_is_not_final_is_replaced(
    ledger: Ledger, first: Kind, second: Kind
) -> None:
    before = outcome("a", first, reason="first")
    await ledger.put([Step(0, row("a", 1), (before,)), Step(0, row("b"))])
    await ledger.put([Step(1, row("b", 2), (outcome("b", Kind.CLEARED),))])
    after = outcome("a", second, reason="second", status=200, attempts=2)
    await ledger.put([Step(1, row("a", 2), (after,))])
    (_, kept), (_, other) = await ledger.outcomes(ALL, 0, 9)
    assert kept == (before if first.final else after)
    assert other.user == "b"


async def test_5_each_sweep_has_an_outcome_of_its_own(ledger: Ledger) -> None:
    both = (outcome("a", Kind.CLEARED, "one"), outcome("a", Kind.CLEARED, "two"))
    await ledger.put([Step(0, row("a"), both, delete=True)])
    assert await kinds(ledger) == [("a", "one", Kind.CLEARED), ("a", "two", Kind.CLEARED)]


async def test_6_what_put_answered_for_is_there_when_opened_again(ledger: Ledger) -> None:
    await ledger.put([Step(0, FULL, (outcome("full", Kind.FAILED),), wishes=True)])
    await ledger.close()
    with pytest.raises(LedgerError):
        await ledger.put([Step(0, row("late"))])
    await ledger.open()
    assert await ledger.get([FULL.key, key("late")]) == [FULL, Session(key=key("late"))]
    assert await kinds(ledger) == [("full", "sweep-1", Kind.FAILED)]


async def test_7_a_cancelled_put_is_applied_wholly_or_not_at_all(ledger: Ledger) -> None:
    put = asyncio.ensure_future(ledger.put([Step(0, row(str(n))) for n in range(100)]))
    await asyncio.sleep(0)
    put.cancel()
    await asyncio.wait([put])
    assert len(await ledger.page(OWN, None, 1000)) in (0, 100)
    assert await ledger.put([Step(0, row("next"))]) == {}


async def test_8_page_runs_by_tenant_and_user(ledger: Ledger) -> None:
    one, two = LaneId(ORIGIN, APP, "tenant-a"), LaneId(ORIGIN, APP, "tenant-b")
    foreign = LaneId(ORIGIN, "app-2", "tenant-a"), LaneId("https://else", APP, "tenant-a")
    await ledger.put([Step(0, row(f"{user}2", lane=two)) for user in "cba"])
    await ledger.put([Step(0, row(f"{user}1", lane=one)) for user in "bca"])
    await ledger.put([Step(0, row("x", lane=lane)) for lane in foreign])
    assert await users(ledger, OWN) == "a1 b1 c1 a2 b2 c2"
    assert await users(ledger, OWN, limit=4) == "a1 b1 c1 a2"
    assert await users(ledger, OWN, limit=0) == ""
    assert await users(ledger, OWN, key("a1", one)) == "b1 c1 a2 b2 c2"
    assert await users(ledger, OWN, key("a0", one)) == "a1 b1 c1 a2 b2 c2"
    assert await users(ledger, OWN, key("c1", one), 2) == "a2 b2"
    assert await users(ledger, OWN, key("b2", two)) == "c2"
    assert await users(ledger, OWN, key("c2", two)) == ""
    only = Scope(origin=ORIGIN, app=APP, tenant="tenant-b")
    assert await users(ledger, only) == "a2 b2 c2"
    assert await users(ledger, only, key("a2", two)) == "b2 c2"
    assert await users(ledger, Scope(origin=ORIGIN, app=APP, tenant="tenant-c")) == ""
    assert await users(ledger, Scope(origin=ORIGIN, app="app-3")) == ""


async def test_8_a_scope_narrows_to_an_owner_or_to_orphans(ledger: Ledger) -> None:
    rows = [
        row("a-mine", owner="me"),
        row("b-held", owner="you", wishes=(wish("x", "you"), wish("y", "me"))),
        row("c-yours", owner="you", wishes=(wish("x", "you"),)),
        row("d-dead", owner="dead", wishes=(wish("x", "me"),)),
        row("e-half", owner="me", wishes=(wish("x", "me"), wish("y", "dead"))),
        row("f-alone", owner="me", wishes=(wish("x", ""),)),
        row("g-nobody", owner=""),
    ]
    await ledger.put([Step(0, session, wishes=True) for session in rows])
    mine = Scope(origin=ORIGIN, app=APP, owner="me")
    assert await users(ledger, mine) == "a-mine b-held d-dead e-half f-alone"
    assert await users(ledger, mine, key("b-held"), 1) == "d-dead"
    alive = frozenset({"me", "you"})
    orphans = Scope(origin=ORIGIN, app=APP, orphans_of=alive)
    assert await users(ledger, orphans) == "d-dead e-half g-nobody"
    nobody = Scope(origin=ORIGIN, app=APP, orphans_of=frozenset())
    assert len(await ledger.page(nobody, None, 99)) == 7
    with pytest.raises(ValueError, match="not of both"):
        await ledger.page(Scope(origin=ORIGIN, app=APP, owner="me", orphans_of=alive), None, 9)


async def test_8_a_scope_narrows_to_a_sweep(ledger: Ledger) -> None:
    rows = [row("a", sweeps=("s1",)), row("b", sweeps=("s2", "s1")), row("c", sweeps=("s2",))]
    await ledger.put([Step(0, session) for session in rows])
    assert await users(ledger, Scope(origin=ORIGIN, app=APP, sweep="s1")) == "a b"
    assert await users(ledger, Scope(origin=ORIGIN, app=APP, sweep="s3")) == ""


async def test_12_lanes_are_those_of_the_application_by_tenant(ledger: Ledger) -> None:
    others = [
        LaneId(ORIGIN, APP, "tenant-0"),
        LaneId(ORIGIN, "app-x", "t"),
        LaneId("else", APP, "t"),
    ]
    await ledger.put([Step(0, row("x", lane=lane)) for lane in (LANE, *others)])
    assert await ledger.lanes(ORIGIN, APP) == [others[0], LANE]
    assert await ledger.lanes("nowhere", APP) == []


async def test_9_a_row_comes_back_as_it_was_put(ledger: Ledger) -> None:
    await ledger.put([Step(0, FULL, wishes=True), Step(0, row("plain"))])
    assert await ledger.get([FULL.key]) == [FULL]
    assert await ledger.page(OWN, None, 9) == [FULL, row("plain")]


async def test_9_holds_come_and_go_in_order(ledger: Ledger) -> None:
    holds = [(wish("a"), wish("b"), wish("c")), (wish("c"), wish("a")), (), (wish("z"),)]
    for version, wishes in enumerate(holds):
        session = row("a", version + 1, wishes=wishes)
        assert await ledger.put([Step(version, session, wishes=True)]) == {}
        assert await ledger.get([key("a")]) == [session]
    same = row("a", 5, wishes=holds[-1], doubt=True)
    await ledger.put([Step(4, same)])
    assert await ledger.get([key("a")]) == [same]
    await ledger.put([Step(5, row("a", 6, wishes=holds[-1]), delete=True)])
    await ledger.put([Step(0, row("a", 7, wishes=holds[0]), wishes=True)])
    assert await ledger.get([key("a")]) == [row("a", 7, wishes=holds[0])]


async def test_10_one_key_stands_once_in_a_put(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="twice"):
        await ledger.put([Step(0, row("a")), Step(0, row("b")), Step(0, row("a", 2))])
    with pytest.raises(ValueError, match="version"):
        await ledger.put([Step(0, row("a", 0))])
    assert await ledger.page(OWN, None, 9) == []


async def test_11_foreign_counts_what_is_not_ours(ledger: Ledger) -> None:
    assert await ledger.foreign(ORIGIN, APP) == 0
    lanes = [
        LANE,
        LaneId(ORIGIN, APP, "tenant-2"),
        LaneId(ORIGIN, "app-2", "tenant-1"),
        LaneId("https://emulator", APP, "tenant-1"),
    ]
    await ledger.put([Step(0, row("a", lane=lane)) for lane in lanes])
    assert await ledger.foreign(ORIGIN, APP) == 2
    assert await ledger.foreign(ORIGIN, "app-2") == 3
    assert await ledger.foreign("https://nowhere", APP) == 4
