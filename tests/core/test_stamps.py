"""Who wrote a row, by which clock, and what is forgotten: the fields that no rule reads at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from presence_manager.core import change, ending
from presence_manager.core.key import is_folded
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import PAIRS, pair_of
from presence_manager.core.session import Known, Session
from presence_manager.core.verdict import Judgement, Verb

from .rows import BLANK, NOW, TERMS, attempt, row, tried, verdict, wish

SKEWED = replace(TERMS, skew=2.5)
THEIRS = {"owner": "you", "clock": "you", "skew": -9.0}


def late(before: Session, verb: Verb, judgement: Judgement) -> Session:
    """The verdict on an attempt of ours that somebody has closed meanwhile."""
    asked = attempt(verb, number=9)
    return change.advance(before, asked, verdict(judgement), "me", SKEWED)


WRITES: dict[str, Callable[[Session], Session]] = {
    "hold": lambda r: change.hold(r, wish(), NOW, "me"),
    "track": lambda r: change.track(r, wish(), NOW, "me", NOW + 900, SKEWED),
    "release": lambda r: change.release(r, NOW, "me"),
    "begin": lambda r: change.begin(r, attempt(), NOW, SKEWED),
    "begin clear": lambda r: change.begin(r, attempt(Verb.CLEAR), NOW, SKEWED),
    "withdraw": lambda r: change.withdraw(r, NOW, "me"),
    "abandon": lambda r: change.abandon(r._replace(attempt=attempt()), NOW, "me", SKEWED),
    "set done": lambda r: tried(r, Verb.SET, Judgement.DONE, terms=SKEWED),
    "set lost": lambda r: tried(r, Verb.SET, Judgement.LOST, terms=SKEWED),
    "set denied": lambda r: tried(r, Verb.SET, Judgement.DENIED, terms=SKEWED),
    "clear done": lambda r: tried(r, Verb.CLEAR, Judgement.DONE, terms=SKEWED),
    "clear done, unsettled": lambda r: tried(
        r._replace(sets_settle=NOW + 9), Verb.CLEAR, Judgement.DONE, terms=SKEWED
    ),
    "expire": lambda r: change.expire(r._replace(wishes=(wish(until=NOW),)), NOW, "me"),
    "clear lost": lambda r: tried(r, Verb.CLEAR, Judgement.LOST, terms=SKEWED),
    "finish": lambda r: ending.finish(r, NOW, "me"),
    "late set": lambda r: late(r, Verb.SET, Judgement.DONE),
    "late clear": lambda r: late(r, Verb.CLEAR, Judgement.LOST),
}
NOT_OF_NOTHING = {"clear done", "clear done, unsettled"}
NEW_CLOCK = {"track", "begin", "set done", "set lost", "set denied", "abandon", "late set"}


@pytest.mark.parametrize("name", WRITES)
def test_whoever_writes_a_row_says_so_and_by_which_clock(name: str) -> None:
    before = row(Known.UNSURE, **THEIRS)
    after = WRITES[name](before)
    assert after.version > before.version
    assert after.owner == "me"
    assert (after.attempt is not None) is name.startswith("begin")
    if name in NEW_CLOCK - {"abandon"}:
        assert (after.clock, after.skew) == ("me", 2.5)
    elif name != "abandon":
        assert (after.clock, after.skew) == ("you", -9.0)


@pytest.mark.parametrize("name", sorted(WRITES.keys() - NOT_OF_NOTHING))
def test_a_row_that_is_new_begins_at_the_microsecond_of_its_birth(name: str) -> None:
    after = WRITES[name](BLANK)
    if name == "late clear":
        assert after is BLANK, "nothing is known of it, and nothing can be left"
    else:
        assert NOW * 1e6 <= after.version <= (NOW + 2) * 1e6


def test_what_has_settled_by_a_set_is_forgotten_to_the_instant() -> None:
    held = row(sets_settle=NOW, clears_settle=NOW, doubt=True, wishes=(wish(),))
    done = tried(held, Verb.SET, Judgement.DONE, sent_at=NOW)
    assert (done.sets_settle, done.clears_settle, done.doubt) == (0.0, 0.0, False)
    unsettled = held._replace(sets_settle=NOW + 0.001)
    done = tried(unsettled, Verb.SET, Judgement.DONE, sent_at=NOW)
    assert (done.sets_settle, done.clears_settle) == (NOW + 0.001, NOW)
    unsettled = held._replace(clears_settle=NOW + 0.001)
    done = tried(unsettled, Verb.SET, Judgement.DONE, sent_at=NOW)
    assert (done.sets_settle, done.clears_settle, done.doubt) == (NOW, NOW + 0.001, True)


def test_a_clear_that_a_lost_set_may_follow_leaves_it_unsure() -> None:
    shown = row(sets_settle=NOW + 9)
    done = tried(shown, Verb.CLEAR, Judgement.DONE)
    assert (done.known, done.answer, done.doubt) == (Known.UNSURE, Kind.CLEARED, True)


def test_how_far_graphs_clock_is_ahead_is_written_as_it_is_when_the_answer_comes() -> None:
    asked = attempt()
    opened = change.begin(row(wishes=(wish(),)), asked, NOW, replace(TERMS, skew=1.0))
    done = change.advance(opened, asked, verdict(Judgement.DONE), "me", SKEWED)
    assert (opened.skew, done.skew) == (1.0, 2.5)


def test_a_set_that_older_requests_may_undo_is_reckoned_by_the_clock_that_sent_it() -> None:
    held = row(**THEIRS, sets_settle=NOW + 5, may_live_until=NOW + 9_000, wishes=(wish(),))
    asked = attempt(owner="other")
    opened = held._replace(attempt=asked, clock="other")
    done = change.advance(opened, asked, verdict(Judgement.DONE), "me", SKEWED)
    assert done.may_live_until == NOW + 9_000, "written by its own clock: no word of another"


def test_a_definite_refusal_is_told_to_the_table() -> None:
    unsure = row(Known.UNSURE, wishes=(wish(),))
    assert tried(unsure, Verb.SET, Judgement.DENIED).known is Known.UNSURE
    held = row(wishes=(wish(),))
    assert tried(held, Verb.SET, Judgement.GONE).wishes == ()


def test_a_folded_id_is_text_and_nothing_else() -> None:
    assert is_folded("0f8fad5b-d9cb-469f-a165-70867728950e")
    assert not is_folded("0F8fad5b-d9cb-469f-a165-70867728950e")
    assert not is_folded("anna")
    assert not is_folded(None)
    assert not is_folded(b"0f8fad5b-d9cb-469f-a165-70867728950e")


@pytest.mark.parametrize(
    ("availability", "activity", "said"),
    [
        ("Busy", "Busy", "'Busy/Busy' cannot"),
        ("Offline", None, "'Offline' cannot"),
        ("x" * 90, None, f"'{'x' * 60}' cannot"),
    ],
)
def test_a_pair_that_is_not_one_is_named_as_it_was_asked_for(
    availability: str, activity: str | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as error:
        pair_of(availability, activity)
    assert str(error.value).startswith(said)
    assert all(str(pair) in str(error.value) for pair in PAIRS)


def test_an_abandoned_attempt_may_have_left_up_to_now() -> None:
    before = row(attempt=attempt(), sets_settle=0.0)
    after = change.abandon(before, NOW, "me", TERMS)
    assert after.sets_settle == NOW + TERMS.settle
    assert after.attempt is None
    assert after.may_live_until < inf
