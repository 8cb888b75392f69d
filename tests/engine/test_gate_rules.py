"""What the gate makes of each refusal, on both sides of every limit."""

from __future__ import annotations

from math import inf

import pytest

from presence_manager.gate.budget import GateTerms, LaneBudget
from presence_manager.gate.gate import LIES, LONGEST_WAIT, SOON, STRIKES, Gate
from presence_manager.ports import Budget, Draw, Share, Uses

AT = 1000.0
FIRST = 1500


def used(ours: float = 1.0, count: int = 100, others: Uses = (), **terms: float) -> Gate:
    """A gate that learns, with `count` slots in use that are free again in `ours` seconds."""
    gate = Gate(GateTerms(**terms))  # type: ignore[arg-type]
    give(gate, AT, 500, others)
    gate.leave(count)
    gate.answered(AT + ours - gate.window, count)
    return gate


def give(gate: Gate, now: float, count: int, others: Uses = ()) -> None:
    """Grant so many slots."""
    draw = Draw(now, (), count, FIRST, now + 45.0)
    gate.granted(draw, Share(count, others, gate.budget.known))


def refuse(gate: Gate, now: float, retry_after: float | None = None) -> None:
    """Refuse one that left now."""
    gate.refuse(now, now, retry_after, 1)


class TestWait:
    def test_without_a_retry_after_it_doubles_up_to_its_limit(self) -> None:
        gate = Gate(GateTerms())
        waits = []
        now = AT
        for _ in range(11):
            refuse(gate, now)
            waits.append(gate.closed_until - now)
            now = gate.closed_until
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_WAIT, LONGEST_WAIT]

    def test_what_graph_asks_for_is_the_first_wait_and_then_the_least(self) -> None:
        gate = Gate(GateTerms())
        refuse(gate, AT, 0.25)
        assert gate.closed_until == AT + 0.25
        refuse(gate, AT + 1, 0.25)
        assert gate.closed_until == AT + 1.5
        refuse(gate, AT + 2)
        assert gate.closed_until == AT + 3.0
        refuse(gate, AT + 3, 7.0)
        assert gate.closed_until == AT + 10.0

    def test_without_a_time_of_its_own_it_goes_on_from_the_one_before(self) -> None:
        gate = Gate(GateTerms())
        refuse(gate, AT, 0.25)
        refuse(gate, AT + 1)
        assert gate.closed_until == AT + 1.5

    def test_a_refusal_without_a_time_is_not_taken_to_have_asked_for_one(self) -> None:
        gate = used(ours=1.5, window=4.0)
        refuse(gate, AT - 0.25, 0.125)
        gate.accept(AT, AT, SOON)
        gate._wait = 0.25
        refuse(gate, AT)  # half a second: its slots are free in one and a half
        assert gate.budget.size == FIRST

    def test_it_begins_anew_after_an_acceptance(self) -> None:
        gate = Gate(GateTerms())
        refuse(gate, AT)
        refuse(gate, AT + 1)
        gate.accept(AT + 3, AT + 3, 1)
        refuse(gate, AT + 4)
        assert gate.closed_until == AT + 5

    def test_those_that_left_before_the_door_was_shut_say_nothing_new(self) -> None:
        gate = Gate(GateTerms())
        refuse(gate, AT)
        gate.refuse(AT + 0.5, AT - 0.1, None, 3)
        assert gate.closed_until == AT + 1.5, "but for the time"
        assert gate.refused == 4
        refuse(gate, AT + 2)
        assert gate.closed_until == AT + 4


class TestStrikes:
    """Refusals soon after one another are taken for the limit."""

    @staticmethod
    def strike(gate: Gate, times: int, between: int = 1) -> None:
        for _ in range(times):
            gate.accept(AT, AT, between)
            refuse(gate, AT)

    def test_the_fourth_is(self) -> None:
        gate = used()
        self.strike(gate, STRIKES - 1)
        assert gate.budget.size == FIRST
        self.strike(gate, 1)
        assert gate.budget.size == 20, "the least: hardly any were accepted"

    def test_seven_between_are_soon(self) -> None:
        gate = used()
        self.strike(gate, STRIKES, between=SOON - 1)
        assert gate.budget.size == STRIKES * (SOON - 1)

    def test_eight_between_begin_anew(self) -> None:
        gate = used()
        self.strike(gate, STRIKES - 1)
        self.strike(gate, 1, between=SOON)
        self.strike(gate, STRIKES - 1)
        assert gate.budget.size == FIRST
        self.strike(gate, 1)
        assert gate.budget.size < FIRST

    def test_what_the_others_have_in_use_is_proven_as_well(self) -> None:
        gate = used(others=((AT + 9.0, 30), (AT, 500)))
        self.strike(gate, STRIKES, between=SOON - 1)
        assert gate.budget.size == STRIKES * (SOON - 1) + 30

    def test_slots_that_were_drawn_before_are_void(self) -> None:
        gate = used()
        self.strike(gate, STRIKES)
        draw = gate.draw(gate.closed_until, 9)
        assert draw is not None
        assert draw.want == 1


class TestLies:
    """Refused again after the time that Graph asked for: it asked for too little."""

    def test_the_second_is_taken_for_the_limit(self) -> None:
        gate = used()
        gate.accept(AT, AT, SOON)
        for _ in range(LIES):
            refuse(gate, AT, 0.1)
            assert gate.budget.size == FIRST
        refuse(gate, AT, 0.1)
        assert gate.budget.size == 20

    def test_until_then_one_more_is_tried_than_the_budget_has(self) -> None:
        gate = used(ours=9.0, count=20)
        gate.learn(Budget(proven=20), AT, AT)
        gate.accept(AT - 40, AT - 40, SOON)
        refuse(gate, AT, 0.125)
        gate._slots = 0
        draw = gate.draw(gate.closed_until, 9)
        assert draw is not None
        assert (draw.want, draw.limit) == (1, 21)
        for _ in range(LIES):
            refuse(gate, gate.closed_until, 0.125)
        assert gate.budget.size == 20
        assert gate.draw(gate.closed_until, 9) is None

    def test_a_fixed_budget_is_never_exceeded(self) -> None:
        gate = used(ours=9.0, count=20, budget=20)
        refuse(gate, AT, 0.125)
        gate._slots = 0
        assert gate.draw(gate.closed_until, 9) is None
        assert gate.budget.size == 20


@pytest.mark.parametrize(
    ("asked", "ours", "limit"),
    [
        (5.0, 10.0, True),
        (5.0, 10.1, False),
        (4.0, 10.0, False),
        (5.0, 7.6, True),
        (5.0, 7.5, False),
        (5.0, 7.0, False),
    ],
)
def test_a_wait_about_as_long_as_our_own_says_that_it_was_our_own_use(
    asked: float, ours: float, limit: bool
) -> None:
    gate = used(ours)
    gate.accept(AT - 40, AT - 40, SOON)
    refuse(gate, AT, asked)
    assert (gate.budget.size < FIRST) is limit


class TestPace:
    @staticmethod
    def opened(gate: Gate) -> Gate:
        """The door is open again: what tested it was accepted."""
        gate._slots = 0
        give(gate, gate.closed_until, 100)
        gate.accept(gate.closed_until, gate.closed_until, 1)
        return gate

    def test_after_a_refusal_that_was_not_ours_it_is_as_before(self) -> None:
        gate = used()
        gate.accept(AT, AT, SOON)
        refuse(gate, AT, 0.5)
        assert self.opened(gate).free(AT + 0.5) == 100

    def test_after_a_strike_it_begins_at_one_and_doubles_with_each_round(self) -> None:
        gate = used()
        refuse(gate, AT, 0.5)
        now = AT + 0.5
        assert self.opened(gate).free(now) == 2
        gate.accept(now, now, 1)
        assert gate.free(now) == 2
        gate.accept(now, now, 1)
        assert gate.free(now) == 4
        assert gate.free(now + gate.window - 0.5) == 0, "its slots are given back by then"

    def test_a_second_refusal_in_a_row_proves_nothing(self) -> None:
        gate = used()
        refuse(gate, AT, 0.5)
        refuse(gate, AT + 0.5, 0.5)
        assert self.opened(gate).free(gate.closed_until) == 2

    def test_while_the_door_is_tested_one_may_leave(self) -> None:
        gate = used()
        refuse(gate, AT, 0.5)
        assert gate.free(AT + 0.4) == 0
        give(gate, AT + 0.5, 100)
        assert gate.free(AT + 0.5) == 1
        gate.leave(1)
        assert gate.free(AT + 0.5) == 0
        assert gate.next_free(AT + 0.5) == inf


class TestCapacity:
    def test_nothing_leaves_in_no_time(self) -> None:
        gate = Gate(GateTerms(budget=100))
        assert gate.capacity(10.0, 10.0) == 0
        assert gate.capacity(10.0, 9.0) == 0
        refuse(gate, 10.0, 50.0)
        assert gate.capacity(10.0, 60.0) == 0

    def test_slots_that_are_free_by_the_end_count(self) -> None:
        gate = Gate(GateTerms(budget=100))
        give(gate, 0.0, 40)
        gate.leave(40)
        gate.answered(0.5, 40)
        assert gate.capacity(10.0, 30.4) == 60
        assert gate.capacity(10.0, 35.0) == 100

    def test_those_of_other_processes_do_not_until_then(self) -> None:
        gate = Gate(GateTerms(budget=100))
        give(gate, 0.0, 0, ((20.0, 30),))
        assert gate.capacity(0.0, 10.0) == 70
        assert gate.capacity(0.0, 25.0) == 100

    def test_more_in_use_than_the_budget_is_no_room(self) -> None:
        gate = Gate(GateTerms(budget=100))
        give(gate, 0.0, 0, ((20.0, 130),))
        assert gate.capacity(0.0, 10.0) == 0

    def test_one_that_learns_may_find_its_ceiling_unless_it_may_not_try(self) -> None:
        gate = Gate(GateTerms())
        assert gate.capacity(AT, AT + 30.0) == 20_000
        gate.learn(Budget(FIRST, 0.0, AT + 30.0, 600.0), AT, AT)
        assert gate.capacity(AT, AT + 30.0) == 2 * FIRST
        assert gate.capacity(AT, AT + 30.1) == 20_000
        fixed = LaneBudget(GateTerms(budget=50, ceiling=90))
        assert fixed.most(AT) == 50


def test_its_repr_says_what_is_in_use() -> None:
    gate = used(count=100)
    gate.leave(3)
    refuse(gate, AT)
    assert repr(gate) == "<Gate 103 of 1500 used in 30 s, 3 in flight, 1 refused>"


def test_a_budget_that_is_fixed_later_on_is_its_own_ceiling() -> None:
    budget = LaneBudget(GateTerms())
    budget.learn(Budget(proven=30), AT)
    budget.change(GateTerms(budget=60))
    assert (budget.size, budget.ceiling, budget.learning) == (60, 60, False)
    budget.change(GateTerms(ceiling=900))
    assert (budget.ceiling, budget.learning) == (900, True)


def test_what_stays_is_free_again() -> None:
    gate = Gate(GateTerms(budget=100))
    give(gate, AT, 10)
    gate.leave(5)
    assert (gate.free(AT), gate.sent) == (5, 5)
    gate.stay(2)
    assert (gate.free(AT), gate.sent, gate._out) == (7, 3, 3)


def test_one_renewal_may_leave_however_small_the_budget() -> None:
    assert Gate(GateTerms(budget=1)).renewals(AT) == 1
    assert Gate(GateTerms(budget=5)).renewals(AT) == 2


def test_the_ledger_is_told_what_it_does_not_know() -> None:
    budget = LaneBudget(GateTerms())
    assert budget.lesson(0.0, 0.0) is None, "nothing was learned"
    assert budget.lesson(9.0, 8.0) == Budget(0, 9.0, 0.0, 0.0, 8.0)
    budget.accepted(AT, AT, 2000, probing=True)
    assert budget.lesson(0.0, 0.0) == Budget(2000, 0.0, 0.0, 0.0)
    budget.learn(Budget(2000), AT)
    assert budget.lesson(0.0, 0.0) is None
    budget.refused(AT + 40, 30, probing=True)
    assert budget.lesson(9.0, 8.0) == Budget(30, 9.0, AT + 640, 600.0, 8.0)
    fixed = LaneBudget(GateTerms(budget=50))
    assert fixed.lesson(9.0, 8.0) == Budget(0, 9.0, 0.0, 0.0, 8.0)
    fixed.learn(Budget(proven=700), AT)
    assert fixed.lesson(9.0, 8.0) == Budget(700, 9.0, 0.0, 0.0, 8.0), (
        "what others have proven stays"
    )


class TestReckoned:
    """What is granted where the ledger does not answer: what it last said of the others counts."""

    OTHERS: Uses = ((AT, 50), (AT + 0.001, 7), (AT + 9.0, 20))

    def test_what_has_ended_is_free_again(self) -> None:
        gate = used(others=self.OTHERS)
        share = gate.reckoned(Draw(AT, ((AT, 30), (AT + 5.0, 3)), 1000, 100))
        assert share == Share(100 - 3 - 27, self.OTHERS[1:], gate.budget.known)

    def test_no_more_than_is_wanted_nor_less_than_nothing(self) -> None:
        gate = used(others=self.OTHERS)
        granted = [
            gate.reckoned(Draw(AT, (), want, limit)).granted
            for want, limit in [(1, 100), (73, 100), (74, 100), (5, 28), (5, 27), (5, 26), (0, 100)]
        ]
        assert granted == [1, 73, 73, 1, 0, 0, 0]


def test_the_next_try_for_more_is_not_taught_back_in_words_of_our_own() -> None:
    """Else a process whose clock is a day ahead would read there that it may try at once."""
    budget = LaneBudget(GateTerms())
    heard = Budget(proven=1_500, probe_at=AT + 86_400.0, probe_wait=600.0)
    budget.learn(heard, AT)
    assert budget.lesson(0.0, 0.0) is None
    budget.learn(heard._replace(proven=1_600), AT + 300.0)  # nothing new of the next try
    assert not budget.may_probe(AT + 599.0)
    assert budget.may_probe(AT + 600.0)
    budget.refused(AT + 601.0, 0, probing=True)
    lesson = budget.lesson(0.0, 0.0)
    assert lesson is not None
    assert lesson.probe_at == AT + 601.0 + lesson.probe_wait
