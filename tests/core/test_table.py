"""The table, walked: every pair, legal and illegal."""

from __future__ import annotations

from itertools import product

import pytest

from presence_manager.core.session import Known
from presence_manager.core.table import (
    TRANSITIONS,
    Event,
    IllegalTransition,
    after,
    event_of,
)
from presence_manager.core.verdict import Judgement, Verb

A, S, U = Known.ABSENT, Known.SHOWN, Known.UNSURE
LEGAL = {
    # event: what follows absent, shown, unsure (None: cannot happen)
    Event.SET_DONE: (S, S, S),
    Event.SET_LOST: (U, U, U),
    Event.SET_REFUSED: (A, S, U),
    Event.CLEAR_DONE: (None, A, A),
    Event.CLEAR_UNSETTLED: (None, U, U),
    Event.CLEAR_LOST: (A, U, U),
    Event.CLEAR_REFUSED: (None, S, U),
    Event.FOUND: (U, U, U),
    Event.LAPSED: (None, A, A),
}


@pytest.mark.parametrize(("known", "event"), list(product(Known, Event)))
def test_every_pair(known: Known, event: Event) -> None:
    then = dict(zip((A, S, U), LEGAL[event], strict=True))[known]
    if then is None:
        with pytest.raises(IllegalTransition, match=f"{event} cannot happen .* is {known}"):
            after(known, event)
    else:
        assert after(known, event) is then


def test_the_table_has_nothing_else() -> None:
    assert len(TRANSITIONS) == sum(then is not None for row in LEGAL.values() for then in row)


@pytest.mark.parametrize("judgement", list(Judgement))
def test_what_a_verdict_means(judgement: Judgement) -> None:
    sets = {Judgement.DONE: Event.SET_DONE, Judgement.LOST: Event.SET_LOST}
    clears = {
        Judgement.DONE: Event.CLEAR_DONE,
        Judgement.GONE: Event.CLEAR_DONE,
        Judgement.LOST: Event.CLEAR_LOST,
    }
    assert event_of(Verb.SET, judgement) is sets.get(judgement, Event.SET_REFUSED)
    assert event_of(Verb.CLEAR, judgement) is clears.get(judgement, Event.CLEAR_REFUSED)
