"""From one version of a row to the next: what to commit, and what comes then.

Plain functions. The lane commits what they return; if somebody else was faster, it calls them
again on the row as it is now.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple
from uuid import uuid4

from presence_manager.core import change, ending
from presence_manager.core.decide import Action, Finish, Rest, Send, decide
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Session, Terms, Wish
from presence_manager.core.verdict import Verb, Verdict

SEND_WITHIN = 30.0
"""Seconds within which an attempt leaves after its commit; later it is committed anew."""

_made: Any = tuple.__new__  # a third of the time of a call by name, on the busiest path

_GONE = {kind: Finish(kind, gone=True) for kind in Kind}


class Plan(NamedTuple):
    """A row's next version with its outcomes, and the action that follows the commit."""

    row: Session
    action: Action
    outcomes: tuple[Outcome, ...] = ()
    delete: bool = False

    def unrecorded(self) -> Plan:
        """The same, where the ledger could not be told."""
        return self._replace(outcomes=tuple(o._replace(recorded=False) for o in self.outcomes))


class Now(NamedTuple):
    """The moment, and in whose name.

    `lease` plans the lease of those holds in a lane that leave it open. `graph` is the time by
    Graph's own clock, None before its first answer. `retry` is the number of seconds before what
    failed or was left unfinished is tried again.
    """

    at: float
    owner: str
    terms: Terms
    lease: Callable[[LaneId], float]
    graph: float | None = None
    retry: float = 60.0

    def certain(self, row: Session) -> float | None:
        """An instant that has surely passed by the clock that wrote the row (see `decide`).

        Another process's clock may be any: only Graph's, which both have seen, compares them.
        """
        if row.clock == self.owner:
            return self.at
        if self.graph is None or row.skew is None:
            return None
        return self.graph - row.skew

    def adopt(self, row: Session) -> Session:
        """The row as another process wrote it, in this one's time."""
        return change.adopt(row, self.at, self.owner, self.terms)

    def decide(self, row: Session) -> Action:
        """What comes next for the row; an attempt of ours that is open here has not left."""
        return decide(row, self.at, self.terms, self.certain(row), self.owner)


def new_sweep_id() -> str:
    """A name for a sweep: unguessable, unique."""
    return uuid4().hex


def conclude(row: Session, now: Now, verdict: Verdict | None = None, reason: str = "") -> Plan:
    """Write what is finished, and find out what comes next.

    What is to be cleared without a sweep that asked for it (a hold that ran out, was refused or
    withdrawn) gets a sweep of one, so that it has an outcome like everything else.
    """
    row = change.expire(row, now.at, now.owner)
    action = now.decide(row)
    if not row.version and isinstance(action, Finish):  # another process has finished it
        return Plan(row, action)
    outcomes: tuple[Outcome, ...] = ()
    while isinstance(action, Finish):
        if action.gone and not row.clears_settle:
            row = _in_a_sweep(row, now)
        outcomes += ending.outcomes(row, action.kind, now.at, now.owner, verdict, reason)
        if action.gone:
            return Plan(row, action, outcomes, delete=True)
        row = ending.finish(row, now.at, now.owner)
        action = now.decide(row)
    return Plan(row, action, outcomes)


def begin(row: Session, now: Now, number: int, send_by: float) -> Plan:
    """Open an attempt for what is to be done now, if anything still is."""
    plan = conclude(row, now)
    if not isinstance(plan.action, Send) or plan.delete:
        return withdraw(row, now) if row.attempt else plan
    row = plan.row
    if plan.action.verb is Verb.CLEAR:
        row = _in_a_sweep(row, now)
    attempt = attempt_for(row.key, plan.action, now, number, send_by)
    return plan._replace(row=change.begin(row, attempt, now.at, now.terms))


def attempt_for(key: Key, send: Send, now: Now, number: int, send_by: float) -> Attempt:
    """The attempt that carries out `send`."""
    wish = send.wish
    if wish is None:
        return Attempt(verb=Verb.CLEAR, owner=now.owner, number=number, send_by=send_by)
    return Attempt(
        verb=Verb.SET,
        owner=now.owner,
        number=number,
        send_by=send_by,
        wish=wish.name,
        pair=wish.pair,
        lease=wish.lease or now.lease(key.lane),
    )


def usable(attempt: Attempt | None, send: Send, now: Now) -> bool:
    """Whether the committed attempt is the one that `send` wants, and may still leave."""
    if attempt is None or attempt.owner != now.owner or now.at > attempt.send_by:
        return False
    wish: Wish | None = send.wish
    if wish is None:
        return attempt.verb is Verb.CLEAR
    asked = (attempt.verb, attempt.wish, attempt.pair, attempt.lease)
    return asked == (Verb.SET, wish.name, wish.pair, wish.lease or attempt.lease)


def withdraw(row: Session, now: Now) -> Plan:
    """Close an attempt of ours that never left, and see what comes next."""
    if row.attempt is not None and row.attempt.owner == now.owner:
        row = change.withdraw(row, now.at, now.owner)
    return conclude(row, now)


def judged(row: Session, attempt: Attempt, verdict: Verdict, now: Now) -> Plan:
    """Apply a verdict and see what comes next."""
    (told,) = ending.simply_gone([row], [attempt], [verdict], now.at, now.owner)
    if told:  # the long way says the same
        return gone(row, told)
    return conclude(change.advance(row, attempt, verdict, now.owner, now.terms), now, verdict)


def gone(row: Session, told: tuple[Outcome, ...]) -> Plan:
    """The end of a row."""
    plan: Plan = _made(Plan, (row, _GONE[told[0].kind], told, True))
    return plan


def give_up(
    row: Session,
    now: Now,
    kind: Kind = Kind.UNFINISHED,
    reason: str = "deadline",
    verdict: Verdict | None = None,
    again_at: float | None = None,
) -> Plan:
    """Leave a clear for later: the row stays, its sweeps are told, it is tried again by and by.

    Whatever can be finished, or is wanted after all, is not given up.
    """
    return given_up(withdraw(row, now), now, kind, reason, verdict, again_at)


def given_up(
    plan: Plan,
    now: Now,
    kind: Kind,
    reason: str,
    verdict: Verdict | None = None,
    again_at: float | None = None,
) -> Plan:
    """The same for a plan that would go on with a clear, or wait before one."""
    # a Finish that deletes nothing: another process has finished it, and there is nothing to leave
    if plan.delete or wants_set(plan.action) or isinstance(plan.action, Rest | Finish):
        return plan
    row = _in_a_sweep(plan.row, now)
    told = ending.outcomes(row, kind, now.at, now.owner, verdict, reason)
    at = now.at + now.retry if again_at is None else again_at
    return Plan(row, Rest(at), plan.outcomes + told)


def wants_set(action: Action) -> bool:
    """Whether a hold is to be shown."""
    return isinstance(action, Send) and action.verb is Verb.SET


def take_over(
    row: Session, now: Now, waited: float = 0.0, dead: frozenset[str] = frozenset()
) -> Plan:
    """Close another process's attempt if that process is dead or its time is long over.

    It is by the clock that wrote it, where Graph's tells what that one says; or when we have
    `waited` for longer than it takes. That of a sweep may wait for its turn for any time.
    """
    attempt = row.attempt
    if attempt is not None and attempt.owner != now.owner:
        takes = now.terms.timeout + now.terms.margin
        over = waited >= SEND_WITHIN + takes and attempt.send_by < inf
        if row.clock == attempt.owner and (certain := now.certain(row)) is not None:
            over = over or certain >= attempt.send_by + takes
        if over or attempt.owner in dead:
            row = change.abandon(row, now.at, now.owner, now.terms)
    return conclude(row, now)


def refuse(row: Session, now: Now, verdict: Verdict, reason: str) -> tuple[Plan, str]:
    """No request can be made, for good: new holds are dropped, clears fail.

    Return the plan with the name of the hold that it drops. A session that is shown keeps its
    holds: its renewal is tried again by and by. So does one that another process holds, which may
    well be able to sign in.
    """
    plan = withdraw(row, now)
    action = plan.action
    if plan.delete or not isinstance(action, Send):
        return plan, ""
    if action.wish is None:
        return give_up(row, now, Kind.FAILED, reason, verdict), ""
    wish = action.wish
    shown = plan.row.pair is not None and plan.row.pair == wish.pair
    if shown or wish.owner not in ("", now.owner):
        return plan._replace(action=Rest(now.at + now.retry)), ""
    name = wish.name
    dropped = change.release(plan.row, now.at, now.owner, names=frozenset({name}))
    rest = conclude(dropped, now, verdict, reason)
    return rest._replace(outcomes=plan.outcomes + rest.outcomes), name


def _in_a_sweep(row: Session, now: Now) -> Session:
    if row.sweeps:
        return row
    return change.release(row, now.at, now.owner, sweep_id=new_sweep_id())
