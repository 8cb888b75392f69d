"""What the sweeps of a session are told at its end, and small print that had no test."""

from __future__ import annotations

from typing import Any

import pytest

from presence_manager.core import change, ending
from presence_manager.core.key import Key, LaneId, guid
from presence_manager.core.outcome import Kind
from presence_manager.core.session import Attempt, Known, Session, Terms, Wish
from presence_manager.core.verdict import Judgement, Verb, Verdict

NOW = 1_800_000_000.0
KEY = Key(LaneId("https://graph", "app", "tenant"), "user")
CLEAR = Attempt(verb=Verb.CLEAR, owner="me", number=1, send_by=NOW)
ROW = Session(key=KEY, version=5, owner="other", known=Known.SHOWN, attempt=CLEAR, sweeps=("s",))
TERMS = Terms(skew=3.0)


def verdict(judgement: Judgement) -> Verdict:
    said: dict[str, Any] = {"status": 403, "code": "Forbidden", "message": "no", "request_id": "7"}
    return Verdict(judgement=judgement, sent_at=NOW, at=NOW, **said)


def test_an_outcome_says_what_the_last_answer_said() -> None:
    row = ROW._replace(may_live_until=NOW + 9.0, attempts=2)
    (told,) = ending.outcomes(row, Kind.FAILED, NOW, "me", verdict(Judgement.DENIED), "denied")
    assert (told.status, told.code, told.message, told.request_id) == (403, "Forbidden", "no", "7")
    assert (told.owner, told.reason, told.recorded) == ("me", "denied", True)
    assert (told.attempts, told.at, told.sweep_id) == (2, NOW, "s")
    assert told.lapses_at == NOW + 9.0


def test_without_an_answer_there_is_nothing_to_say() -> None:
    (told,) = ending.outcomes(ROW, Kind.CLEARED, NOW, "me", None)
    assert (told.status, told.code, told.message, told.request_id) == (None, "", "", "")
    assert told.recorded
    assert told.lapses_at is None


@pytest.mark.parametrize("judgement", list(Judgement))
def test_it_is_simply_gone_with_a_200_or_404(judgement: Judgement) -> None:
    (told,) = ending.simply_gone([ROW], [CLEAR], [verdict(judgement)], NOW, "me")
    kinds = {Judgement.DONE: [Kind.CLEARED], Judgement.GONE: [Kind.ALREADY_GONE]}
    assert [outcome.kind for outcome in told] == kinds.get(judgement, [])
    if told:
        ended = ROW._replace(attempts=ROW.attempts + 1)
        assert told == ending.outcomes(ended, told[0].kind, NOW, "me", verdict(judgement))


def test_what_one_batch_said_is_told_of_each_of_its_sessions_by_itself() -> None:
    said = [verdict(Judgement.DONE), verdict(Judgement.GONE)]
    verdicts = [said[0], said[0], said[0], said[1]]
    rows = [ROW, ROW._replace(attempts=4), ROW._replace(sweeps=("one", "two")), ROW]
    told = ending.simply_gone(rows, [CLEAR] * 4, verdicts, NOW, "me")
    kinds = [Kind.CLEARED, Kind.CLEARED, Kind.CLEARED, Kind.ALREADY_GONE]
    for row, kind, each, outcomes in zip(rows, kinds, verdicts, told, strict=True):
        ended = row._replace(attempts=row.attempts + 1)
        assert outcomes == ending.outcomes(ended, kind, NOW, "me", each)


@pytest.mark.parametrize(
    "besides",
    [
        {"wishes": (Wish("one", "me", None, 0.0, NOW),)},
        {"doubt": True},
        {"answer": Kind.CLEARED},
        {"sets_settle": NOW},
        {"clears_settle": NOW},
        {"attempt": CLEAR._replace(number=2)},
    ],
    ids=lambda besides: next(iter(besides)),
)
def test_but_not_with_anything_else_to_think_of(besides: dict[str, Any]) -> None:
    row = ROW._replace(**besides)
    assert ending.simply_gone([row], [CLEAR], [verdict(Judgement.DONE)], NOW, "me") == [()]


def test_what_settles_is_told_apart_when_a_row_is_adopted() -> None:
    row = ROW._replace(sets_settle=NOW + 1.0)
    new = change.adopt(row, NOW, "me", TERMS)
    assert (new.sets_settle, new.clears_settle) == (NOW + TERMS.settle, 0.0)
    row = ROW._replace(clears_settle=NOW + 1.0)
    new = change.adopt(row, NOW, "me", TERMS)
    assert (new.sets_settle, new.clears_settle) == (0.0, NOW + TERMS.settle)


def test_one_that_was_found_is_on_the_clock_that_found_it() -> None:
    new = change.found(Session(key=KEY), NOW + 5.0, "me", TERMS)
    assert (new.clock, new.skew, new.may_live_until) == ("me", 3.0, NOW + 5.0)


def test_who_doubts_a_clear_owns_the_row() -> None:
    assert change.doubt(ROW, NOW, "me", TERMS).owner == "me"


@pytest.mark.parametrize("judgement", list(Judgement))
def test_who_applies_an_answer_owns_the_row(judgement: Judgement) -> None:
    assert change.advance(ROW, CLEAR, verdict(judgement), "me", TERMS).owner == "me"


@pytest.mark.parametrize(
    ("text", "what", "says"),
    [
        ("x" * 60, "user", f"'{'x' * 60}' is not a user id: an id looks like "),
        ("x" * 61, "user", f"'{'x' * 60}'... is not a user id: an id looks like "),
        ("a.b", "tenant", "'a.b' is not a tenant id: the Entra admin centre shows the tenant id; "),
    ],
)
def test_the_words_about_a_wrong_id(text: str, what: str, says: str) -> None:
    ends = {"user": "0f8fad5b-d9cb-469f-a165-70867728950e", "tenant": "a domain is not accepted"}
    with pytest.raises(ValueError, match="is not a") as refused:
        guid(text, what)
    assert str(refused.value) == says + ends[what]
