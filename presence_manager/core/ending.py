"""How a clearing ends, and what its sweeps are told."""

from __future__ import annotations

from typing import Any

from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Session
from presence_manager.core.verdict import Judgement, Verb, Verdict

_made: Any = tuple.__new__


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
    status, code, message, request_id = verdict[3:7] if verdict else (None, "", "", "")
    lapses_at = None if kind.final else row.may_live_until
    last = (status, code, message, request_id, owner, reason, True, lapses_at)
    return tuple(
        [  # a third of the time of a call by name
            _made(Outcome, (row.key, kind, sweep_id, now, row.attempts + more, *last))
            for sweep_id in row.sweeps
        ]
    )


def is_simply_gone(row: Session, attempt: Attempt, verdict: Verdict) -> bool:
    """Whether a clear ended the session and nothing else is to be thought of: nearly always."""
    return (
        attempt.verb is Verb.CLEAR
        and (verdict.judgement is Judgement.DONE or verdict.judgement is Judgement.GONE)
        and row.attempt == attempt
        and not (row.wishes or row.doubt or row.answer or row.sets_settle or row.clears_settle)
    )
