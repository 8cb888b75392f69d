"""Wanted against known, on both sides of every instant."""

from __future__ import annotations

from math import inf

import pytest

from presence_manager.core.decide import (
    Action,
    Finish,
    Rest,
    Send,
    Wait,
    decide,
    lapsed,
    may_be_live,
    next_look,
)
from presence_manager.core.outcome import Kind
from presence_manager.core.session import Known, Session
from presence_manager.core.verdict import Verb

from .rows import AWAY, BLANK, NOW, TERMS, attempt, row, wish

A, S, U = Known.ABSENT, Known.SHOWN, Known.UNSURE
SET, CLEAR = Send(Verb.SET, wish()), Send(Verb.CLEAR)


def what(state: Session, now: float = NOW, certain: float | None = None) -> Action:
    return decide(state, now, TERMS, certain)


@pytest.mark.parametrize(
    ("state", "action"),
    [
        # nobody wants it
        (BLANK, Finish(Kind.NEVER_SET, gone=True)),
        (row(A), Finish(Kind.NEVER_SET, gone=True)),
        (row(A, answer=Kind.CLEARED), Finish(Kind.CLEARED, gone=True)),
        (row(S), CLEAR),
        (row(U), CLEAR),
        (row(S, wishes=(wish(until=NOW),)), CLEAR),
        # somebody does
        (row(A, wishes=(wish(),)), SET),
        (row(U, wishes=(wish(),)), SET),
        (row(S, wishes=(wish(),)), Rest(NOW + 300)),
        (row(S, wishes=(wish(), wish("b", pair=AWAY))), Send(Verb.SET, wish("b", pair=AWAY))),
        (row(S, wishes=(wish(until=NOW + 5),)), Rest(NOW + 5)),
        (row(S, wishes=(wish("a", until=NOW + 5), wish())), Rest(NOW + 5)),
        # a sweep waits, and a hold is there
        (row(S, wishes=(wish(),), sweeps=("s",)), Finish(Kind.SUPERSEDED, gone=False)),
        (
            row(A, wishes=(wish(),), sweeps=("s",), answer=Kind.CLEARED),
            Finish(Kind.CLEARED, gone=False),
        ),
        # tracked: never renewed
        (row(U, wishes=(wish(pair=None, until=NOW + 60),)), Rest(NOW + 60)),
        (row(S, wishes=(wish(pair=None),), due=NOW), Rest(inf)),
        # something is open
        (row(S, attempt=attempt()), Wait(NOW + 40)),
        (row(A, attempt=attempt(), wishes=(wish(),), sweeps=("s",)), Wait(NOW + 40)),
    ],
)
def test_what_comes_next(state: Session, action: Action) -> None:
    assert what(state) == action


def test_a_renewal_is_due_at_the_instant() -> None:
    held = row(S, wishes=(wish(),))
    assert what(held, NOW + 299.999) == Rest(NOW + 300)
    assert what(held, NOW + 300) == SET


def test_a_hold_ends_at_the_instant() -> None:
    held = row(S, wishes=(wish(until=NOW + 5),))
    assert what(held, NOW + 4.999) == Rest(NOW + 5)
    assert what(held, NOW + 5) == CLEAR


def test_a_clear_before_a_lost_set_has_settled_is_repeated_at_the_instant() -> None:
    cleared = row(U, answer=Kind.CLEARED, sets_settle=NOW + 10)
    assert what(cleared, NOW + 9.999) == Wait(NOW + 10)
    assert what(cleared, NOW + 10) == CLEAR
    assert what(row(U, sets_settle=NOW + 10)) == CLEAR  # the first one is not put off


def test_what_has_lapsed_is_written_off_a_margin_later() -> None:
    left = row(S, may_live_until=NOW)
    assert what(left, NOW, NOW + TERMS.margin - 0.001) == CLEAR
    assert what(left, NOW, NOW + TERMS.margin) == Finish(Kind.LAPSED, gone=True)
    assert what(left, NOW + 1e6, None) == CLEAR, "no clock can be vouched for"
    assert what(row(S, may_live_until=NOW, wishes=(wish(),)), NOW, inf) == Rest(NOW + 300)
    assert what(row(S, may_live_until=NOW, attempt=attempt()), NOW, inf) == Wait(NOW + 40)


def test_an_attempt_that_has_not_left_stands_in_nobodys_way() -> None:
    held = row(A, attempt=attempt(), wishes=(wish(),))
    assert decide(held, NOW, TERMS, None, "me") == SET
    assert decide(held, NOW, TERMS, None, "you") == Wait(NOW + 40)
    released = row(A, attempt=attempt())
    assert decide(released, NOW, TERMS, None, "me") == Finish(Kind.NEVER_SET, gone=True)


def test_a_hold_without_owner_is_shown_when_one_set_lasts_until_it_ends() -> None:
    ends = NOW + 100
    lasting = row(S, due=inf, may_live_until=ends + TERMS.margin)
    for until, action in [
        (ends, Rest(ends)),
        (ends + 0.001, Send(Verb.SET, wish(owner="", until=ends + 0.001))),
    ]:
        held = lasting.evolve(NOW, "me", wishes=(wish(owner="", until=until),))
        assert what(held) == action
    renewed = row(S, wishes=(wish(owner="", until=NOW + 9000),))
    assert what(renewed) == Rest(NOW + 300), "it does not last, and is renewed by whoever is there"


def test_a_hold_that_joins_one_that_was_set_once_is_set_so_that_it_is_renewed() -> None:
    lasting = row(S, due=inf, may_live_until=NOW + 630, wishes=(wish(owner="", until=NOW + 600),))
    joined = lasting.evolve(NOW, "me", wishes=(*lasting.wishes, wish()))
    assert what(joined) == SET


@pytest.mark.parametrize(
    ("state", "live"),
    [
        (BLANK, False),
        (row(A), False),
        (row(A, attempt=attempt(), may_live_until=NOW + 670), True),
        (row(S), True),
        (row(U), True),
        (row(S, may_live_until=NOW - 30), False),
        (row(S, may_live_until=NOW - 29.999), True),
        (row(A, attempt=attempt(), may_live_until=NOW - 30), False),
    ],
)
def test_whether_it_may_be_live(state: Session, live: bool) -> None:
    assert may_be_live(state, TERMS, NOW) is live


def test_nothing_has_surely_lapsed_without_a_clock() -> None:
    assert not lapsed(row(S, may_live_until=0), TERMS, None)
    assert may_be_live(row(S, may_live_until=0), TERMS)


def test_the_next_look() -> None:
    held = row(S, wishes=(wish("a", until=NOW + 5), wish("b", until=NOW - 1)))
    assert next_look(held, NOW) == NOW + 5
    assert next_look(held, NOW + 5) == NOW + 300
    assert next_look(held, NOW + 300) == inf, "a renewal that is due is no look to come"
    assert next_look(row(U, due=NOW + 1), NOW) == inf


@pytest.mark.parametrize("answer", [None, Kind.CLEARED])
def test_what_is_gone_ends_its_sweeps_at_once_and_its_row_when_no_clear_can_come(
    answer: Kind | None,
) -> None:
    kind = answer or Kind.NEVER_SET
    asked = row(Known.ABSENT, clears_settle=NOW, sweeps=("s",), answer=answer)
    assert decide(asked, NOW, TERMS) == Finish(kind, gone=True)
    assert decide(asked, NOW - 0.001, TERMS) == Finish(kind, gone=False)
    unasked = asked._replace(sweeps=())
    assert decide(unasked, NOW, TERMS) == Finish(kind, gone=True)
    assert decide(unasked, NOW - 0.001, TERMS) == Rest(NOW)
