"""The order in which what waits in a lane may leave."""

from __future__ import annotations

from math import inf

from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Known, Session
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.queue import LaneQueue

LANE = LaneId("https://graph.microsoft.com", "app", "tenant")


def entry(name: str, rank: Rank, life: float = 0.0, deadline: float = inf) -> Entry:
    row = Session(key=Key(LANE, name), version=1, known=Known.SHOWN, may_live_until=life)
    made = Entry(row, rank)
    made.deadline = deadline
    return made


def order(queue: LaneQueue, renewals: int = 1000) -> list[str]:
    names = []
    while found := queue.take(1, renewals):
        names.append(found[0].key.user)
    return names


def test_sets_leave_in_the_order_in_which_they_came() -> None:
    queue = LaneQueue()
    for name in "cab":
        queue.push([entry(name, Rank.SET, life=float(ord(name)))])
    assert order(queue) == ["c", "a", "b"]


def test_clears_leave_by_the_life_that_is_left_and_what_lapses_by_itself_comes_last() -> None:
    queue = LaneQueue()
    for name, life in (("short", 200.0), ("lapses", 90.0), ("long", 900.0), ("middle", 500.0)):
        queue.push([entry(name, Rank.SWEEP, life, deadline=100.0)])
    assert order(queue) == ["long", "middle", "short", "lapses"]


def test_each_rank_that_waits_gets_a_tenth() -> None:
    queue = LaneQueue()
    for n in range(40):
        for rank in Rank:
            queue.push([entry(f"{rank.name}{n}", rank)])
    first = order(queue)[:40]
    for rank in Rank:
        assert sum(name.startswith(rank.name) for name in first) >= 4, rank


def test_renewals_that_can_wait_do() -> None:
    queue = LaneQueue()
    queue.push([entry("renewal", Rank.RENEWAL)])
    queue.push([entry("set", Rank.SET)])
    assert order(queue, renewals=0) == ["set"]
    assert len(queue) == 1


def test_what_there_is_no_room_for_is_taken_out_once() -> None:
    queue = LaneQueue()
    entries = [entry(str(n), Rank.SWEEP, 1000.0 - n, deadline=100.0) for n in range(5)]
    for each in entries:
        queue.push([each])
    queue.remove(entries[4])
    queue.push([entries[4]])  # its old place is still there
    queue.push([entry("free", Rank.SWEEP, 1.0)])
    assert queue.bound == 5
    assert [each.key.user for each in queue.excess(3)] == ["3", "4"]
    assert queue.bound == 3
    assert order(queue) == ["0", "1", "2", "free"]


def test_what_goes_singly_goes_alone_and_in_its_turn() -> None:
    queue = LaneQueue()
    entries = [entry(name, Rank.SET) for name in "abcd"]
    entries[0].singly = entries[2].singly = True
    queue.push(entries)
    together = []
    while found := queue.take(20, 0):
        together.append("".join(each.key.user for each in found))
    assert together == ["a", "b", "c", "d"]


def test_what_was_queued_twice_is_taken_once() -> None:
    queue = LaneQueue()
    entries = [entry(name, Rank.SET) for name in "ab"]
    queue.push(entries)
    queue.remove(entries[0])
    queue.push([entries[0]])  # its old place is still there
    assert [each.key.user for each in queue.take(20, 0)] == ["a", "b"]
    assert len(queue) == 0


def test_one_take_holds_no_more_renewals_than_may_leave() -> None:
    queue = LaneQueue()
    queue.push([entry(f"r{n}", Rank.RENEWAL) for n in range(5)])
    assert len(queue.take(20, 2)) == 2
    queue.push([entry("s", Rank.SET)])
    assert sorted(each.rank for each in queue.take(20, 1)) == [Rank.SET, Rank.RENEWAL]
    assert len(queue) == 2


def test_the_sooner_to_lapse_waits_also_when_it_came_first() -> None:
    queue = LaneQueue()
    lives = [500.0, 900.0, 100.0, 700.0, 300.0]
    queue.push([entry(f"{life:g}", Rank.SWEEP, life) for life in lives])
    queue.push([entry("600", Rank.SWEEP, 600.0), entry("800", Rank.SWEEP, 800.0)])
    together = [each.key.user for each in queue.take(20, 0)]
    assert together == ["900", "800", "700", "600", "500", "300", "100"]
