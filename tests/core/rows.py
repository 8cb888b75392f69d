"""Rows and verdicts for the tests of the rules, in few words."""

from __future__ import annotations

from typing import Any

from presence_manager.core import change
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Attempt, Known, Session, Terms, Wish
from presence_manager.core.verdict import Judgement, Verb, Verdict

from .world import KEY

NOW = 1_000_000.0
TERMS = Terms(timeout=10.0, margin=30.0, settle=10.0)
AVAILABLE, IN_A_CALL, _, AWAY, _ = PAIRS
BLANK = Session(key=KEY)


def wish(name: str = "k", **changes: Any) -> Wish:
    values = {"owner": "me", "pair": IN_A_CALL, "lease": 600.0, "made_at": NOW} | changes
    return Wish(name=name, **values)


def row(known: Known = Known.SHOWN, **changes: Any) -> Session:
    values: dict[str, Any] = {"version": 7, "owner": "me", "clock": "me", "known": known}
    if known is Known.SHOWN:
        values |= {"pair": IN_A_CALL, "due": NOW + 300}
    if known is not Known.ABSENT:
        values |= {"may_live_until": NOW + 630}
    return Session(key=KEY, **(values | changes))


def attempt(verb: Verb = Verb.SET, number: int = 1, **changes: Any) -> Attempt:
    values: dict[str, Any] = {"owner": "me", "send_by": NOW + 30}
    if verb is Verb.SET:
        values |= {"wish": "k", "pair": IN_A_CALL, "lease": 600.0}
    return Attempt(verb=verb, number=number, **(values | changes))


def verdict(judgement: Judgement, sent_at: float = NOW, at: float | None = None) -> Verdict:
    return Verdict(judgement=judgement, sent_at=sent_at, at=sent_at + 1 if at is None else at)


def tried(
    before: Session,
    verb: Verb,
    judgement: Judgement,
    sent_at: float = NOW,
    terms: Terms = TERMS,
    **changes: Any,
) -> Session:
    """The row after an attempt of ours that left at `sent_at` and took a second."""
    asked = attempt(verb, **changes)
    opened = change.begin(before, asked, sent_at, terms)
    return change.advance(opened, asked, verdict(judgement, sent_at), "me", terms)
