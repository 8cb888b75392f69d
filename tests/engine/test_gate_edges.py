"""The gate at its edges, found by breaking it: each of these had a mutant that no test saw."""

from __future__ import annotations

from math import inf

import pytest

from presence_manager.gate.budget import GateTerms, LaneBudget
from presence_manager.gate.gate import SLOTS_LIFE, SOON, Gate
from presence_manager.ports import Draw, Share

from .test_gate_rules import AT, FIRST, give, refuse, used

CEILING = 10_000


def probing() -> Gate:
    """A gate that was never refused, has used what is proven, and tries more, twenty at a time."""
    gate = Gate(GateTerms())
    give(gate, AT, FIRST + 1)
    gate.leave(FIRST + 1)
    gate.answered(AT, FIRST + 1)
    gate.accept(AT, AT, FIRST + 1)
    draw = gate.draw(AT, 100)
    assert draw is not None
    assert (draw.limit, draw.want) == (CEILING, 40)
    return gate


class TestDraws:
    @pytest.mark.parametrize(
        ("has", "waiting", "want"),
        [
            (0, 1000, FIRST // 8),
            (10, 1000, FIRST // 8 - 10),
            (0, 50, 50),
            (0, 5, 20),
            (10, 50, 40),
            (20, 50, 30),
            (25, 50, 25),
            (26, 50, 0),
        ],
    )
    def test_as_many_as_wait_but_an_eighth_at_most(self, has: int, waiting: int, want: int) -> None:
        gate = Gate(GateTerms())
        give(gate, AT, has)
        draw = gate.draw(AT, waiting)
        assert (0 if draw is None else draw.want) == want
        assert draw is None or isinstance(draw.want, int)

    @pytest.mark.parametrize(("has", "out", "want"), [(10, 0, 30), (20, 0, 0), (10, 10, 0)])
    def test_beyond_what_is_proven_two_rounds_at_most(self, has: int, out: int, want: int) -> None:
        gate = probing()
        give(gate, AT, has + out)
        gate.leave(out)
        draw = gate.draw(AT, 100)
        assert (0 if draw is None else draw.want) == want

    def test_slots_are_good_to_the_instant_at_which_their_life_ends(self) -> None:
        gate = Gate(GateTerms())
        give(gate, AT, 30)
        end = AT + SLOTS_LIFE
        assert gate.free(end) == 30
        assert gate.draw(end, 30) is None
        assert gate.uses(end)[-1][1] == 30
        assert gate.uses(end + 0.01) == ()

    def test_grants_add_up(self) -> None:
        gate = Gate(GateTerms())
        give(gate, AT, 10)
        give(gate, AT, 10)
        assert gate.free(AT) == 20

    def test_one_that_tries_the_door_draws_one(self) -> None:
        gate = Gate(GateTerms())
        refuse(gate, AT, 1.0)
        draw = gate.draw(AT + 1.0, 5)
        assert draw is not None
        assert draw.want == 1
        give(gate, AT + 1.0, 1)
        assert gate.draw(AT + 1.0, 5) is None
        gate.leave(1)
        assert gate.draw(AT + 1.0, 5) is None

    @pytest.mark.parametrize(("count", "want"), [(9, 1), (10, None)])
    def test_of_a_fixed_budget_it_tries_with_the_last_slot(
        self, count: int, want: int | None
    ) -> None:
        gate = Gate(GateTerms(budget=10))
        give(gate, AT, count)
        gate.leave(count)
        gate.answered(AT, count)
        refuse(gate, AT, 1.0)
        draw = gate.draw(AT + 1.0, 5)
        assert (None if draw is None else draw.want) == want

    def test_what_others_use_is_asked_for_again(self) -> None:
        gate = Gate(GateTerms(budget=100))
        give(gate, AT, 50, ((AT + 30.0, 50),))
        gate.leave(50)
        draw = gate.draw(AT, 10)
        assert draw is not None
        assert draw.want == 10

    def test_after_nothing_was_granted_at_the_ceiling_it_asks_later(self) -> None:
        gate = used(0.01)
        gate.leave(400)
        gate.granted(Draw(AT, (), 5, CEILING, AT + 45.0), Share(0, (), gate.budget.known))
        assert gate.draw(AT, 5) is None
        assert gate.next_free(AT) == pytest.approx(AT + 0.05)


class TestPace:
    def test_a_full_round_waits_for_its_answers(self) -> None:
        gate = probing()
        give(gate, AT, 40)
        assert gate.free(AT) == 20
        gate.leave(20)
        assert gate.next_free(AT) == inf

    def test_answers_from_before_it_began_do_not_double_it(self) -> None:
        gate = probing()
        give(gate, AT, 100)
        gate.accept(AT, AT - 1.0, 20)
        assert gate.free(AT) == 20
        gate.accept(AT, AT, 20)
        assert gate.free(AT) == 40

    def test_it_is_over_when_there_is_room_again(self) -> None:
        gate = probing()
        later = AT + gate.window + 1.0
        assert gate.draw(later, 100) is not None
        give(gate, later, 100)
        assert gate.free(later) == 100
        assert gate.free(later) == 100

    def test_after_a_refusal_it_is_over_one_window_later(self) -> None:
        gate = used(gate_ours := 10.0)
        refuse(gate, AT, gate_ours)
        at = gate.closed_until
        give(gate, at, 100)
        gate.leave(1)
        gate.answered(at, 1)
        gate.accept(at, at, 1)
        end = at + gate.window
        give(gate, end, 100)
        assert gate.free(end - 0.01) < 100
        assert gate.free(end) >= 100


class TestCounts:
    def test_what_has_left_adds_up(self) -> None:
        gate = Gate(GateTerms())
        give(gate, AT, 10)
        gate.leave(2)
        gate.leave(3)
        assert gate.sent == 5

    def test_an_answer_is_no_renewal_unless_it_is_called_one(self) -> None:
        gate = Gate(GateTerms())
        gate.answered(AT, 1)
        assert gate.renewals(AT) == FIRST // 2

    def test_uses_are_told_apart_by_a_sixtieth_of_the_window(self) -> None:
        gate = Gate(GateTerms())
        give(gate, AT, 2)
        gate.leave(2)
        gate.answered(AT, 1)
        gate.answered(AT + gate.window / 3, 1)
        assert len(gate.uses(AT + gate.window / 3)) == 2

    def test_others_whose_slots_are_free_just_now_are_waited_for_no_more(self) -> None:
        gate = Gate(GateTerms())
        give(gate, AT, 0, ((AT, 5),))
        assert gate.next_free(AT) == inf
        give(gate, AT, 0, ((AT + 0.5, 5),))
        assert gate.next_free(AT) == AT + 0.5

    def test_acceptances_add_up_between_two_refusals(self) -> None:
        gate = Gate(GateTerms())
        now = AT
        for _ in range(8):
            refuse(gate, now, 0.25)
            now = gate.closed_until
            for _ in range(2):
                gate.accept(now, now, SOON // 2)
        assert gate.budget.size == FIRST

    def test_at_the_ceiling_there_is_no_more_to_try(self) -> None:
        assert not LaneBudget(GateTerms(ceiling=FIRST)).may_probe(AT)
        assert LaneBudget(GateTerms(ceiling=FIRST + 1)).may_probe(AT)


class TestLessons:
    @pytest.mark.parametrize("lost", [0, 1])
    def test_a_try_that_proved_more_ends_the_long_wait_for_the_next(self, lost: int) -> None:
        gate = probing()
        give(gate, AT, 20)
        gate.leave(20)
        gate.answered(AT, 20)
        refuse(gate, AT)
        assert not gate.budget.unrefused
        at = AT + 1000.0
        gate.accept(at, at, 1)
        at += 100.0
        full = gate.budget.size
        give(gate, at, full)
        gate.leave(full)
        gate.answered(at, full)
        gate.accept(at, at, full - lost)
        draw = gate.draw(at, 100)
        assert draw is not None
        assert draw.limit == CEILING
        gate.accept(at, at, 1)
        assert gate.budget.size == full + 1 - lost
        lesson = gate.lesson(at)
        assert lesson is not None
        assert (lesson.probe_wait == 0.0) == (not lost)
