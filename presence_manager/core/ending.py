"""How a clearing ends, and what its sweeps are told."""

from __future__ import annotations

from typing import Any

from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Session
from presence_manager.core.verdict import Judgement, Verb, Verdict

_made: Any = tuple.__new__
_CLEAR = Verb.CLEAR
_SIMPLY = {Judgement.DONE: Kind.CLEARED, Judgement.GONE: Kind.ALREADY_GONE}
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
) -> tuple[Outcome, ...]:
    """Return one outcome for each sweep that waits for this session."""
    said = verdict[3:7] if verdict else _NOTHING_SAID
    lapses_at = None if kind.final else row.may_live_until
    return tuple(
        _made(
            Outcome,
            (row.key, kind, sweep_id, now, row.attempts, *said, owner, reason, True, lapses_at),
        )
        for sweep_id in row.sweeps
    )


def simply_gone(
    row: Session, attempt: Attempt, verdict: Verdict, now: float, owner: str
) -> tuple[Outcome, ...]:
    """What the sweeps are told if a clear ended the session and nothing else is to be thought of.

    So it is nearly always, and what the long way would say (`change.advance`, `decide`).
    """
    key, _, _, _, _, wishes, _, _, _, _, opened, sets, clears, doubt, answer, tries, sweeps = row
    kind = _SIMPLY.get(verdict[0])
    if kind is None or attempt.verb is not _CLEAR or opened != attempt:
        return ()
    if wishes or sets or clears or doubt or answer:
        return ()
    rest = (now, tries + 1, *verdict[3:7], owner, "", True, None)
    told: tuple[Outcome, ...] = ()
    for sweep_id in sweeps:  # nearly always there is one
        told += (_made(Outcome, (key, kind, sweep_id, *rest)),)
    return told
