"""How a clearing ends, and what its sweeps are told."""

from __future__ import annotations

from typing import Any

from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Session
from presence_manager.core.verdict import Judgement, Verb, Verdict

_made: Any = tuple.__new__
_CLEAR, _DONE, _GONE = Verb.CLEAR, Judgement.DONE, Judgement.GONE  # looked up millions of times
_NOTHING_SAID = (None, "", "", "")  # status, code, message, request_id


def finish(row: Session, now: float, owner: str) -> Session:
    """End the clearing: its sweeps have their outcome."""
    return row.evolve(now, owner, sweeps=(), answer=None, attempts=0)


def outcomes(
    row: Session,
    kind: Kind,
    now: float,
    owner: str,
    verdict: Verdict | None,
    reason: str = "",
    more: int = 0,
) -> tuple[Outcome, ...]:
    """Return one outcome for each sweep that waits for this session, after `more` attempts."""
    said = verdict[3:7] if verdict else _NOTHING_SAID
    lapses_at = None if kind.final else row.may_live_until
    key, attempts = row.key, row.attempts + more
    told: tuple[Outcome, ...] = ()
    for sweep_id in row.sweeps:  # nearly always there is one
        fields = (key, kind, sweep_id, now, attempts, *said, owner, reason, True, lapses_at)
        told += (_made(Outcome, fields),)  # a third of the time of a call by name
    return told


def is_simply_gone(row: Session, attempt: Attempt, verdict: Verdict) -> bool:
    """Whether a clear ended the session and nothing else is to be thought of: nearly always."""
    return (
        attempt.verb is _CLEAR
        and (verdict.judgement is _DONE or verdict.judgement is _GONE)
        and row.attempt == attempt
        and not (row.wishes or row.doubt or row.answer or row.sets_settle or row.clears_settle)
    )
