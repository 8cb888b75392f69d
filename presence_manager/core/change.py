"""The changes a row can undergo, each a plain function from one version to the next."""

from __future__ import annotations

from collections.abc import Set
from math import inf, nextafter
from zlib import crc32

from presence_manager.core.key import Key
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import FADES_AFTER, LONGEST_LEASE, Pair
from presence_manager.core.session import Attempt, Known, Session, Terms, Wish
from presence_manager.core.table import Event, after, event_of
from presence_manager.core.verdict import Judgement, Verb, Verdict


def hold(row: Session, wish: Wish, now: float, owner: str) -> Session:
    """Add the hold, or put it again under its name: the newest is the one that is shown."""
    kept = tuple(w for w in row.wishes if w.name != wish.name and w.live(now))
    return row.evolve(now, owner, wishes=(*kept, wish))


def track(
    row: Session, wish: Wish, now: float, owner: str, live_until: float, terms: Terms
) -> Session:
    """Remember a session that other code has set; `live_until` is when Graph will end it.

    The answer to what is under way already does not speak of it: it settles only now.
    """
    held = hold(row, wish, now, owner)
    settles = row.sets_settle
    if row.attempt is not None:
        settles = max(settles, nextafter(now, inf))
    return held._replace(
        known=after(row.known, Event.FOUND),
        sets_settle=settles,
        may_live_until=_live_until(row, live_until, now, owner, terms),
        clock=owner,
        skew=terms.skew,
    )


def inherit(row: Session, gone: Set[str], now: float, owner: str) -> Session:
    """Go on with the holds of processes that are `gone`, where somebody can still end them."""
    wishes = tuple(
        w._replace(owner=owner) if w.owner in gone and w.resumable and w.live(now) else w
        for w in row.wishes
    )
    return row if wishes == row.wishes else row.evolve(now, owner, wishes=wishes)


def release(
    row: Session, now: float, owner: str, *, names: frozenset[str] | None = None, sweep_id: str = ""
) -> Session:
    """End the holds of these names (None: all of every process) and the expired ones.

    The sweep joins those that wait for the session's outcome.
    """
    kept: tuple[Wish, ...] = ()
    if names is not None:
        kept = tuple(w for w in row.wishes if w.name not in names and w.live(now))
    sweeps = row.sweeps
    if sweep_id and sweep_id not in sweeps:
        sweeps = (*sweeps, sweep_id)
    return row.evolve(now, owner, wishes=kept, sweeps=sweeps)


def adopt(row: Session, now: float, owner: str, terms: Terms) -> Session:
    """Read another process's row: its clock may be any, so what it gave up settles from now on."""
    if row.owner == owner or not (row.sets_settle or row.clears_settle):
        return row
    settles = now + terms.settle
    return row._replace(
        owner=owner,
        sets_settle=settles if row.sets_settle else 0.0,
        clears_settle=settles if row.clears_settle else 0.0,
    )


def found(row: Session, live_until: float, owner: str, terms: Terms) -> Session:
    """Reckon with a session that the ledger does not know, since somebody wants it cleared."""
    if not row.over:
        return row
    known = after(row.known, Event.FOUND)
    return row._replace(known=known, may_live_until=live_until, clock=owner, skew=terms.skew)


def begin(row: Session, attempt: Attempt, now: float, terms: Terms) -> Session:
    """Open the attempt; from its commit until its end the session may change on Graph."""
    if attempt.verb is Verb.CLEAR:
        return row.evolve(now, attempt.owner, attempt=attempt)
    given_up = attempt.send_by + terms.timeout
    live_until = given_up + terms.settle + attempt.lease + terms.margin
    return row.evolve(
        now,
        attempt.owner,
        attempt=attempt,
        may_live_until=_live_until(row, live_until, now, attempt.owner, terms),
        clock=attempt.owner,
        skew=terms.skew,
    )


def withdraw(row: Session, now: float, owner: str) -> Session:
    """Close an attempt that certainly never left."""
    return row.evolve(now, owner, attempt=None)


def abandon(row: Session, now: float, owner: str, terms: Terms) -> Session:
    """Close an attempt whose process died or was stopped: nobody knows whether it left."""
    assert row.attempt is not None
    verdict = Verdict(judgement=Judgement.LOST, sent_at=now, at=now)
    return advance(row, row.attempt, verdict, owner, terms)


def doubt(row: Session, now: float, owner: str, terms: Terms) -> Session:
    """Reckon with a clear of ours that may yet be applied; the version stays.

    What a 404 had proven before is not the whole story any more.
    """
    return row._replace(
        owner=owner,
        known=after(row.known, Event.CLEAR_LOST),
        doubt=True,
        answer=None if row.answer is Kind.ALREADY_GONE else row.answer,
        clears_settle=max(row.clears_settle, now + terms.settle),
    )


def advance(row: Session, attempt: Attempt, verdict: Verdict, owner: str, terms: Terms) -> Session:
    """Apply what an attempt came to.

    An attempt that is no longer the row's own was closed by somebody who took us for dead: its
    verdict is old news then, of which only the doubt remains.
    """
    ours = row.attempt is not None and (row.attempt.owner, row.attempt.number) == (
        attempt.owner,
        attempt.number,
    )
    if not ours:
        return _late(row, attempt, verdict, owner, terms)
    if attempt.verb is Verb.SET:
        return _after_set(row._replace(attempt=None), attempt, verdict, owner, terms)
    return _after_clear(row, verdict, owner, terms)


def expire(row: Session, now: float, owner: str) -> Session:
    """Drop the holds whose time is over; the same row when there is none."""
    if not row.wishes:
        return row
    live = tuple(w for w in row.wishes if w.live(now))
    return row if len(live) == len(row.wishes) else row.evolve(now, owner, wishes=live)


def renewal_due(key: Key, pair: Pair, lease: float, sent_at: float) -> float:
    """Return when a session shown since `sent_at` is to be set again.

    Half of its lease, and well before Available fades; up to a fifth earlier by the user's id,
    so that what was set in one burst is not renewed in one.
    """
    life = lease / 2
    if pair.availability == "Available":
        life = min(life, FADES_AFTER * 0.8)
    return sent_at + life * (1.0 - 0.2 * (crc32(key.user.encode()) / 0xFFFFFFFF))


def _after_set(
    row: Session, attempt: Attempt, verdict: Verdict, owner: str, terms: Terms
) -> Session:
    event = event_of(Verb.SET, verdict.judgement)
    known = after(row.known, event)
    now = verdict.at
    if event is Event.SET_DONE:
        assert attempt.pair is not None
        live_until = now + attempt.lease + terms.margin
        wish = row.wish(attempt.wish)
        if wish is not None and not wish.owner and verdict.sent_at + attempt.lease >= wish.until:
            due = inf  # one set lasts until it ends, and nobody may be there to renew it
        else:
            due = renewal_due(row.key, attempt.pair, attempt.lease, verdict.sent_at)
        settles = max(row.sets_settle, row.clears_settle)
        if settles > verdict.sent_at:  # an older request may still undo this one: set it once more
            due = min(due, settles)
            live_until = _live_until(row, live_until, now, attempt.owner, terms)
        return row.evolve(
            now,
            owner,
            known=known,
            pair=attempt.pair,
            due=due,
            may_live_until=live_until,
            clock=attempt.owner,
            skew=terms.skew,
            sets_settle=row.sets_settle if settles > verdict.sent_at else 0.0,
            clears_settle=row.clears_settle if settles > verdict.sent_at else 0.0,
            doubt=row.doubt and row.clears_settle > verdict.sent_at,
            answer=None,
            attempts=0,
        )
    if event is Event.SET_LOST:
        settles = max(row.sets_settle, now + terms.settle)
        return row.evolve(now, owner, known=known, sets_settle=settles, answer=None)
    wishes = row.wishes
    if verdict.judgement in (Judgement.GONE, Judgement.DENIED):
        wishes = tuple(w for w in wishes if (w.name, w.pair) != (attempt.wish, attempt.pair))
    return row.evolve(now, owner, known=known, wishes=wishes)


def _after_clear(row: Session, verdict: Verdict, owner: str, terms: Terms) -> Session:
    event = event_of(Verb.CLEAR, verdict.judgement)
    now = verdict.at
    attempts = row.attempts
    if verdict.judgement is not Judgement.LATER:  # that one did not leave
        attempts += 1
    if event is Event.CLEAR_DONE:
        done = verdict.judgement is Judgement.DONE
        answer = row.answer
        if done:
            answer = Kind.CLEARED
        elif answer is not Kind.CLEARED:
            answer = Kind.GONE_AFTER_RETRY if row.doubt else Kind.ALREADY_GONE
        if verdict.sent_at < row.sets_settle:  # the 200 may explain a later 404, too
            return row.evolve(
                now,
                owner,
                attempt=None,
                attempts=attempts,
                known=after(row.known, Event.CLEAR_UNSETTLED),
                answer=answer,
                doubt=row.doubt or done,
            )
        return row.evolve(
            now,
            owner,
            attempt=None,
            attempts=attempts,
            known=after(row.known, event),
            pair=None,
            due=inf,
            answer=answer,
            doubt=row.doubt and row.clears_settle > now,
        )
    new = row.evolve(now, owner, attempt=None, attempts=attempts)
    if event is Event.CLEAR_LOST:
        return doubt(new, now, owner, terms)
    return new._replace(known=after(row.known, event))


def _late(row: Session, attempt: Attempt, verdict: Verdict, owner: str, terms: Terms) -> Session:
    now = verdict.at
    applied = verdict.judgement in (Judgement.DONE, Judgement.LOST)
    if not applied:
        return row
    if attempt.verb is Verb.SET:
        settles = now + terms.settle
        live_until = settles + attempt.lease + terms.margin
        return row.evolve(
            now,
            owner,
            known=after(row.known, Event.SET_LOST),
            sets_settle=max(row.sets_settle, settles),
            may_live_until=_live_until(row, live_until, now, owner, terms),
            clock=owner,
            skew=terms.skew,
            answer=None,
        )
    if not row.version:
        return row
    return doubt(row.evolve(now, owner), now, owner, terms)


def _live_until(row: Session, until: float, now: float, clock: str, terms: Terms) -> float:
    """The later of `until` and what the row says; another clock's word may be too early."""
    if row.known is Known.ABSENT and row.attempt is None:
        return until
    if row.clock != clock:
        until = max(until, now + LONGEST_LEASE + terms.margin)
    return max(until, row.may_live_until)
