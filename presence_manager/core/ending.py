"""How a clearing ends, and what its sweeps are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Session
from presence_manager.core.verdict import Judgement, Verb, Verdict

_made: Any = tuple.__new__  # a third of the time of a call by name
_CLEAR = Verb.CLEAR
_SIMPLY = {Judgement.DONE: Kind.CLEARED, Judgement.GONE: Kind.ALREADY_GONE}
_NOTHING_SAID: tuple[Any, ...] = (None, "", "", "")  # status, code, message, request_id


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
    rest = (now, row.attempts, *said, owner, reason, True, lapses_at)
    return _each(row.key, kind, row.sweeps, rest)


def simply_gone(
    rows: Iterable[Session],
    attempts: Iterable[Attempt],
    verdicts: Iterable[Verdict],
    now: float,
    owner: str,
) -> list[tuple[Outcome, ...]]:
    """What the sweeps are told of each session if a clear ended it and that is all to be said.

    So it is nearly always, and what the long way would say (`change.advance`, `decide`).
    """
    said: list[tuple[Outcome, ...]] = []
    last: Verdict | None = None
    before, rest = 0, _NOTHING_SAID
    for row, attempt, verdict in zip(rows, attempts, verdicts, strict=True):
        key, _, _, _, _, wishes, _, _, _, _, opened, sets, clears, doubt, answer, tries, sweeps = (
            row
        )
        kind = _SIMPLY.get(verdict[0])
        told: tuple[Outcome, ...] = ()
        if (
            kind is not None
            and attempt[0] is _CLEAR
            and (opened is attempt or opened == attempt)
            and not (wishes or sets or clears or doubt or answer)
        ):
            if verdict is not last or tries != before:  # mostly all are of one batch
                last, before = verdict, tries
                rest = (now, tries + 1, *verdict[3:7], owner, "", True, None)
            told = _each(key, kind, sweeps, rest)
        said.append(told)
    return said


def _each(
    key: Key, kind: Kind, sweeps: tuple[str, ...], rest: tuple[Any, ...]
) -> tuple[Outcome, ...]:
    """An outcome for each sweep; `rest` are its values after the sweep."""
    told: tuple[Outcome, ...] = ()
    for sweep_id in sweeps:  # nearly always there is one
        told += (_made(Outcome, (key, kind, sweep_id, *rest)),)
    return told
