"""The clauses of `ports.Owners`, `Budgets`, `Outcomes` and `Ledger`, on every ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Session, Step
from presence_manager.errors import LedgerError
from presence_manager.ports import Budget, Draw, Ledger, Query, Scope, Search, Share

ORIGIN, APP = "https://graph.microsoft.com", "app-1"
HOUR = 3600.0
LANE = LaneId(ORIGIN, APP, "tenant-1")
ALL = Query(origin=ORIGIN, app=APP)


async def write(ledger: Ledger, *outcomes: Outcome) -> None:
    """Write outcomes one after the other, each with a row that ends."""
    for outcome in outcomes:
        await ledger.put([Step(0, Session(key=outcome.key, version=1), (outcome,), delete=True)])


def outcome(user: str, at: float = 0.0, lane: LaneId = LANE, **fields: object) -> Outcome:
    fields = {"kind": Kind.CLEARED, "sweep_id": "sweep-1", **fields}
    return Outcome(key=Key(lane, user), at=at, **fields)  # type: ignore[arg-type]


async def test_owners_1_who_enters_is_alive(ledger: Ledger) -> None:
    assert await ledger.alive() == frozenset()
    await ledger.enter("one")
    await ledger.enter("two/../ä b")
    await ledger.enter("one")
    assert await ledger.alive() == {"one", "two/../ä b"}


async def test_owners_1_an_owner_has_a_name(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="name"):
        await ledger.enter("")


async def test_owners_2_and_3_until_it_leaves(ledger: Ledger) -> None:
    await ledger.enter("one")
    await ledger.enter("two")
    await ledger.leave("one")
    assert await ledger.alive() == {"two"}
    await ledger.enter("one")
    assert await ledger.alive() == {"one", "two"}


async def test_owners_5_who_left_is_not_dead(ledger: Ledger) -> None:
    await ledger.enter("one")
    assert await ledger.dead() == frozenset()
    await ledger.leave("one")
    assert await ledger.dead() == frozenset()


async def test_owners_6_who_is_marked_is_seen_until_it_is_not(ledger: Ledger) -> None:
    await ledger.enter("me")
    await ledger.enter("other")
    assert await ledger.marked() == frozenset()
    for on in (True, True):
        await ledger.mark("me", on=on)
        assert await ledger.marked() == {"me"}
    await ledger.mark("me", on=False)
    assert await ledger.marked() == frozenset()
    await ledger.mark("me", on=True)
    await ledger.leave("me")
    assert await ledger.marked() == frozenset()


async def test_owners_3_a_closed_ledger_has_no_owners(ledger: Ledger) -> None:
    await ledger.enter("one")
    await ledger.close()
    await ledger.open()
    assert await ledger.alive() == frozenset()


async def test_owners_4_leave_of_an_unknown_owner_is_harmless(ledger: Ledger) -> None:
    await ledger.leave("nobody")
    await ledger.enter("one")
    await ledger.leave("one")
    await ledger.leave("one")
    assert await ledger.alive() == frozenset()


async def test_budgets_1_and_2_what_was_last_saved(ledger: Ledger) -> None:
    other = LANE._replace(tenant="tenant-2")
    assert await ledger.budget(LANE) == Budget(0, 0.0)
    await ledger.save_budget(LANE, Budget(1500, 12.5))
    await ledger.save_budget(LANE, Budget(10_000, 99.25))
    assert await ledger.budget(LANE) == Budget(10_000, 99.25)
    assert await ledger.budget(other) == Budget()
    await ledger.close()
    await ledger.open()
    assert await ledger.budget(LANE) == Budget(10_000, 99.25)


async def test_budgets_1_and_2_all_of_it_comes_back(ledger: Ledger) -> None:
    whole = Budget(700, 1.5, 2.5, 600.0, 0.75)
    await ledger.save_budget(LANE, whole)
    assert await ledger.budget(LANE) == whole
    assert (await ledger.draw(LANE, "me", Draw(0.0))).budget == whole


async def test_budgets_3_a_draw_replaces_the_uses_of_its_owner(ledger: Ledger) -> None:
    share = await ledger.draw(LANE, "me", Draw(100.0, (), want=60, limit=100, until=140.0))
    assert share == Share(60, (), Budget())
    share = await ledger.draw(LANE, "you", Draw(100.0, (), want=60, limit=100, until=141.0))
    assert share == Share(40, ((140.0, 60),), Budget())
    await ledger.draw(LANE, "me", Draw(101.0, ((131.0, 5), (132.5, 6))))
    share = await ledger.draw(LANE, "you", Draw(101.0, ((141.0, 40),)))
    assert share.others == ((131.0, 5), (132.5, 6))
    await ledger.draw(LANE, "me", Draw(101.0))
    assert (await ledger.draw(LANE, "you", Draw(101.0))).others == ()


@pytest.mark.parametrize(("now", "granted"), [(129.9, 2), (130.0, 10)])
async def test_budgets_4_all_owners_stay_within_the_limit(
    ledger: Ledger, now: float, granted: int
) -> None:
    await ledger.draw(LANE, "dead", Draw(100.0, ((130.0, 3),)))
    draw = Draw(now, ((130.0, 5),), want=99, limit=10, until=170.0)
    assert (await ledger.draw(LANE, "me", draw)).granted == granted
    assert (await ledger.draw(LANE, "you", draw._replace(uses=()))).granted == 0


async def test_budgets_4_a_lane_that_is_over_its_limit_grants_nothing(ledger: Ledger) -> None:
    draw = Draw(1.0, ((9.0, 50),), want=5, limit=10, until=40.0)
    assert (await ledger.draw(LANE, "me", draw)).granted == 0


async def test_budgets_5_lanes_do_not_see_each_other(ledger: Ledger) -> None:
    await ledger.draw(LANE, "me", Draw(1.0, (), want=5, limit=10, until=40.0))
    share = await ledger.draw(LANE._replace(tenant="tenant-2"), "you", Draw(1.0))
    assert share.others == ()


async def test_budgets_7_a_clock_that_is_ahead_holds_slots_no_longer(ledger: Ledger) -> None:
    await ledger.draw(LANE, "ahead", Draw(3600.0, ((3630.0, 5),), want=5, limit=10, until=3640.0))
    share = await ledger.draw(LANE, "me", Draw(100.0, (), want=1, limit=10, until=140.0))
    assert share == Share(0, ((140.0, 5), (140.0, 5)), Budget())
    share = await ledger.draw(LANE, "me", Draw(140.0, (), want=1, limit=10, until=180.0))
    assert share == Share(1, (), Budget())


async def test_budgets_6_draws_at_the_same_time_are_granted_one_by_one(ledger: Ledger) -> None:
    draw = Draw(1.0, (), want=7, limit=10, until=40.0)
    shares = await asyncio.gather(*(ledger.draw(LANE, name, draw) for name in "abc"))
    assert sorted(share.granted for share in shares) == [0, 3, 7]


async def test_outcomes_1_in_the_order_of_writing_after_a_position(ledger: Ledger) -> None:
    full = outcome(
        "b",
        at=1760000000.5,
        kind=Kind.UNFINISHED,
        attempts=3,
        status=503,
        code="Busy",
        message="später, 'bitte'",
        request_id="id",
        owner="me",
        reason="deadline",
    )
    await write(ledger, full, outcome("a"), outcome("c"))
    found = await ledger.outcomes(ALL, 0, 9)
    assert [o for _, o in found] == [full, outcome("a"), outcome("c")]
    places = [place for place, _ in found]
    assert places == sorted(set(places))
    assert places[0] > 0
    assert await ledger.outcomes(ALL, 0, 2) == found[:2]
    assert await ledger.outcomes(ALL, places[0], 1) == found[1:2]
    assert await ledger.outcomes(ALL, places[1] - 1, 9) == found[1:]
    assert await ledger.outcomes(ALL, places[2], 9) == []
    assert await ledger.outcomes(ALL, 0, 0) == []


async def test_outcomes_1_a_replaced_one_keeps_its_position(ledger: Ledger) -> None:
    await write(ledger, outcome("a", kind=Kind.FAILED), outcome("b"))
    before = await ledger.outcomes(ALL, 0, 9)
    await write(ledger, outcome("a", at=3.0))
    after = await ledger.outcomes(ALL, 0, 9)
    assert [place for place, _ in after] == [place for place, _ in before]
    assert [o.kind for _, o in after] == [Kind.CLEARED, Kind.CLEARED]


@pytest.mark.parametrize(
    ("narrow", "users"),
    [
        ({}, "a b c d"),
        ({"sweep_id": "sweep-1"}, "a b d"),
        ({"sweep_id": "sweep-2"}, "c"),
        ({"sweep_id": "none"}, ""),
        ({"kind": Kind.FAILED}, "b"),
        ({"sweep_id": "sweep-1", "kind": Kind.CLEARED}, "a d"),
        ({"tenant": "tenant-2"}, "d"),
        ({"user": "a"}, "a"),
        ({"since": 20.0}, "b c d"),
        ({"since": 20.1}, "c d"),
        ({"sweep_id": "sweep-1", "since": 20.1}, "d"),
        ({"sweep_id": "sweep-1", "user": "b", "tenant": "tenant-1"}, "b"),
        ({"app": "app-2"}, "x"),
        ({"origin": "https://else"}, "y"),
    ],
)
async def test_outcomes_1_a_query_narrows(
    ledger: Ledger, narrow: dict[str, object], users: str
) -> None:
    await write(
        ledger,
        outcome("a", 10.0),
        outcome("b", 20.0, kind=Kind.FAILED),
        outcome("c", 30.0, sweep_id="sweep-2"),
        outcome("d", 40.0, LANE._replace(tenant="tenant-2")),
        outcome("x", 50.0, LANE._replace(app="app-2")),
        outcome("y", 50.0, LANE._replace(origin="https://else")),
    )
    query = Query(**{"origin": ORIGIN, "app": APP, **narrow})  # type: ignore[arg-type]
    assert " ".join(o.user for _, o in await ledger.outcomes(query, 0, 9)) == users


async def test_outcomes_2_forget_deletes_the_older_ones(ledger: Ledger) -> None:
    await write(ledger, outcome("a", 10.0), outcome("b", 30.0), outcome("c", 20.0))
    last = (await ledger.outcomes(ALL, 0, 9))[-1][0]
    assert await ledger.forget(10.0) == 0
    assert await ledger.forget(20.0) == 1
    assert [o.user for _, o in await ledger.outcomes(ALL, 0, 9)] == ["b", "c"]
    assert await ledger.forget(1e9) == 2
    await write(ledger, outcome("a", 40.0))
    ((place, _),) = await ledger.outcomes(ALL, 0, 9)
    assert place > last, "a reader that goes on from a position would miss it"


async def test_outcomes_3_history_counts_by_interval_and_kind(ledger: Ledger) -> None:
    await write(
        ledger,
        outcome("a", 99.9),
        outcome("b", 100.0),
        outcome("c", 109.9),
        outcome("d", 110.0),
        outcome("e", 105.0, kind=Kind.FAILED),
        outcome("f", 135.0, LANE._replace(tenant="tenant-2")),
        outcome("x", 105.0, LANE._replace(app="app-2")),
        outcome("y", 105.0, LANE._replace(origin="https://else")),
    )
    expected = [
        (0, Kind.CLEARED, 2),
        (0, Kind.FAILED, 1),
        (1, Kind.CLEARED, 1),
        (3, Kind.CLEARED, 1),
    ]
    assert await ledger.history(ORIGIN, APP, 100.0, 10.0) == expected
    await write(ledger, outcome("e", 115.0))
    expected = [(0, Kind.CLEARED, 2), (1, Kind.CLEARED, 2), (3, Kind.CLEARED, 1)]
    assert await ledger.history(ORIGIN, APP, 100.0, 10.0) == expected
    assert await ledger.history(ORIGIN, APP, 200.0, 10.0) == []


async def test_outcomes_3_history_reads_as_far_back_as_it_must(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presence_manager.ledger.sqlite._COUNT_AT_ONCE", 2)
    now = 10 * HOUR
    await write(ledger, *(outcome(f"old-{n}", 1.0) for n in range(3)))
    await write(ledger, outcome("back", 6 * HOUR, kind=Kind.FAILED))
    await write(ledger, *(outcome(f"b-{n}", 7 * HOUR) for n in range(5)))
    await write(ledger, *(outcome(f"c-{n}", now) for n in range(3)))
    await write(ledger, outcome("back", now))  # in its old place
    assert await ledger.history(ORIGIN, APP, now, 60.0) == [(0, Kind.CLEARED, 4)]


async def test_outcomes_4_who_has_been_told_of(ledger: Ledger) -> None:
    other = LANE._replace(tenant="tenant-2")
    ends = outcome("a"), outcome("b", kind=Kind.FAILED), outcome("c", sweep_id="another")
    await write(ledger, *ends, outcome("a", lane=other))
    keys = [Key(lane, user) for lane in (LANE, other) for user in ("a", "b", "c", "d")]
    keys.append(Key(LANE._replace(tenant="unknown"), "a"))
    sweep_id = ends[0].sweep_id
    assert await ledger.told(sweep_id, keys) == {keys[0], keys[1], keys[4]}
    assert await ledger.told(sweep_id, []) == frozenset()


USES: list[Callable[[Ledger], Awaitable[object]]] = [
    lambda ledger: ledger.get([]),
    lambda ledger: ledger.put([]),
    lambda ledger: ledger.page(Scope(origin=ORIGIN, app=APP), None, 1),
    lambda ledger: ledger.foreign(ORIGIN, APP),
    lambda ledger: ledger.enter("one"),
    lambda ledger: ledger.leave("one"),
    lambda ledger: ledger.alive(),
    lambda ledger: ledger.budget(LANE),
    lambda ledger: ledger.save_budget(LANE, Budget()),
    lambda ledger: ledger.draw(LANE, "one", Draw(0.0)),
    lambda ledger: ledger.lanes(ORIGIN, APP),
    lambda ledger: ledger.tally(ORIGIN, APP, 0.0),
    lambda ledger: ledger.search(Search(origin=ORIGIN, app=APP), None, 1),
    lambda ledger: ledger.outcomes(ALL, 0, 1),
    lambda ledger: ledger.history(ORIGIN, APP, 0.0, 1.0),
    lambda ledger: ledger.told("one", []),
    lambda ledger: ledger.forget(0.0),
]


async def test_ledger_2_nothing_works_before_open_or_after_close(closed_ledger: Ledger) -> None:
    for again in (False, True):
        for use in USES:
            with pytest.raises(LedgerError, match="not open"):
                await use(closed_ledger)
        if not again:
            await closed_ledger.open()
            await closed_ledger.open()
            await closed_ledger.close()
            await closed_ledger.close()


async def test_ledger_2_close_is_harmless_when_not_open(closed_ledger: Ledger) -> None:
    await closed_ledger.close()
    assert "closed" in repr(closed_ledger)


async def test_ledger_warnings_are_sentences(ledger: Ledger) -> None:
    assert all(len(warning) > 40 for warning in ledger.warnings())
    assert "open" in repr(ledger)
