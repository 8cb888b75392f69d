"""What to do about a session now: wanted is compared with known. No await, no clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from presence_manager.core.outcome import Kind
from presence_manager.core.session import Known, Session, Terms, Wish
from presence_manager.core.verdict import Verb


@dataclass(frozen=True, slots=True)
class Send:
    """Ask Graph: set what `wish` wants, or clear."""

    verb: Verb
    wish: Wish | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Work is left, but not before `at`."""

    at: float


@dataclass(frozen=True, slots=True)
class Rest:
    """All is as wanted; look again at `at`."""

    at: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The sweeps that wait for this session end with `kind`; `gone` ends the row as well."""

    kind: Kind
    gone: bool


Action = Send | Wait | Rest | Finish

_CLEAR = Send(Verb.CLEAR)


def decide(
    row: Session, now: float, terms: Terms, certain: float | None = None, unsent_by: str = ""
) -> Action:
    """Compare wanted with known and say what comes next.

    `certain` is an instant that has surely passed by the clock that wrote `may_live_until`, or
    by Graph's own; None when neither can be vouched for. Only it can write a session off.
    An open attempt of the owner `unsent_by` is known not to have left, and stands in nobody's way.
    """
    if row.attempt is not None and row.attempt.owner != unsent_by:
        return Wait(row.attempt.send_by + terms.timeout)
    wish = row.newest(now)
    if wish is not None:
        if row.sweeps:
            return Finish(row.answer or Kind.SUPERSEDED, gone=False)
        if wish.pair is None or _is_shown(row, wish, now, terms):
            return Rest(next_look(row, now))
        return Send(Verb.SET, wish)
    if row.known is Known.ABSENT:
        return _absent(row, now)
    if lapsed(row, terms, certain):
        return Finish(Kind.LAPSED, gone=True)
    if row.answer is not None and now < row.sets_settle:
        return Wait(row.sets_settle)
    return _CLEAR


def may_be_live(row: Session, terms: Terms, certain: float | None = None) -> bool:
    """Whether Graph may have a live session of ours."""
    if row.known is Known.ABSENT and row.attempt is None:
        return False
    return not lapsed(row, terms, certain)


def lapsed(row: Session, terms: Terms, certain: float | None) -> bool:
    """Whether Graph itself has surely ended the session."""
    return certain is not None and certain >= row.may_live_until + terms.margin


def next_look(row: Session, now: float) -> float:
    """When a session at rest wants a look: its renewal, or the end of a hold."""
    at = row.due if row.known is Known.SHOWN and now < row.due else inf
    for wish in row.wishes:
        if wish.live(now):
            at = min(at, wish.until)
    return at


def _absent(row: Session, now: float) -> Action:
    """Nothing is left, but a lost clear may still come, and a new hold has to know of it."""
    kind = row.answer or Kind.NEVER_SET
    if now >= row.clears_settle:
        return Finish(kind, gone=True)
    return Finish(kind, gone=False) if row.sweeps else Rest(row.clears_settle)


def _is_shown(row: Session, wish: Wish, now: float, terms: Terms) -> bool:
    """Whether the wanted pair is shown, and will be renewed or last until the hold ends."""
    if row.known is not Known.SHOWN or row.pair != wish.pair or now >= row.due:
        return False
    return row.due < inf or row.may_live_until - terms.margin >= wish.until
