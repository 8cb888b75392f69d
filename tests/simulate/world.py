"""Graph's rules as a model, with the whole truth: what was applied, when, and what was told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from presence_manager.core.key import Key
from presence_manager.core.pair import Pair
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Judgement, Verb

REFUSALS = (Judgement.GONE, Judgement.DENIED, Judgement.UNAUTHORIZED)
"""What Graph may say of a set that ends its hold."""


@dataclass
class Live:
    """A session on Graph; `ours` unless other code has set it, `tracked` if that has told us."""

    pair: Pair | None
    expires: float
    ours: bool = True
    tracked: bool = False


@dataclass
class Truth:
    """What really happened to one session, since its row began.

    `removed`: a clear of ours ended the last session. `set_since`: a set of ours was applied.
    `doubts` are the instants until which a lost clear may explain a 404. `adopted`: a process went
    on with such a doubt of another's, and does not know how old it is.
    """

    removed: bool = False
    adopted: bool = False
    set_since: bool = False
    set_sent_at: float = -inf
    set_told_at: float = -inf
    set_refused_at: float = -inf
    clear_told_sent_at: float = -inf
    doubts: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """The row is gone: what comes is another story."""
        self.removed = self.set_since = self.adopted = False
        self.clear_told_sent_at = -inf
        self.doubts = []

    def clearing_told(self, now: float) -> None:
        """A clearing is over, and the row goes on for a hold: a 404 from now on says something of
        what is set since, which no clear of before can have ended once it has settled."""
        self.removed = False
        self.doubts = [until for until in self.doubts if until > now]


@dataclass(eq=False)
class Flight:
    """One session's part of a request on its way."""

    key: Key
    attempt: Attempt
    owner: str
    sent_at: float
    coming: bool = False
    handle: asyncio.TimerHandle | None = None
    had: bool = False
    applied: bool = False
    settled: bool = False


class World:
    """All sessions of all applications, and every request that may still be applied."""

    def __init__(self, settle: float, say: Callable[..., None]) -> None:
        self.settle = settle
        self.sessions: dict[Key, Live] = {}
        self.flights: list[Flight] = []
        self.truths: dict[Key, Truth] = {}
        self.wrong: set[Key] = set()
        self.said_anything = False
        self.say = say
        self.on_change: Callable[[Key, str], None] = lambda key, why: None

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def truth(self, key: Key) -> Truth:
        return self.truths.setdefault(key, Truth())

    def live(self, key: Key) -> Live | None:
        session = self.sessions.get(key)
        return session if session is not None and self.now < session.expires else None

    def leave(self, key: Key, attempt: Attempt, owner: str) -> Flight:
        """A request leaves."""
        flight = Flight(key, attempt, owner, self.now)
        self.flights.append(flight)
        if attempt.verb is Verb.SET:
            self.truth(key).set_sent_at = self.now
        self.say("sent", owner[-4:], key.user[-2:], attempt.verb, attempt.pair, attempt.number)
        return flight

    def come(self, flight: Flight, after: float) -> None:
        """The request will be applied, after so many seconds, whatever becomes of its sender."""
        flight.coming = True
        loop = asyncio.get_running_loop()
        flight.handle = loop.call_later(after, self.apply, flight)

    def apply(self, flight: Flight) -> bool:
        """Do what the request asks; whether there was a session."""
        if flight.handle is not None:
            flight.handle.cancel()
        flight.coming = False
        key, attempt, truth = flight.key, flight.attempt, self.truth(flight.key)
        flight.had = had = self.live(key) is not None
        again, flight.applied = flight.applied, True
        if attempt.verb is Verb.SET:
            if key not in self.wrong:
                self.sessions[key] = Live(attempt.pair, self.now + attempt.lease)
                truth.removed, truth.set_since = False, True
        elif had:
            del self.sessions[key]
            truth.removed = truth.removed or not again  # a copy explains no 404 of the first one
        self.say("applied", key.user[-2:], attempt.verb, attempt.pair, had)
        self.on_change(key, f"{attempt.verb} applied")
        return had

    def told(self, flight: Flight, judgement: Judgement) -> None:
        """The sender has its answer, or has given up: from now on there is `settle` left."""
        if flight.settled:
            return
        flight.settled = True
        key, truth = flight.key, self.truth(flight.key)
        self.said_anything = True
        self.say("told", flight.owner[-4:], key.user[-2:], flight.attempt.verb, judgement)
        if flight.coming and flight.handle is not None:
            latest = asyncio.get_running_loop().time() + self.settle * 0.999
            if flight.handle.when() > latest:
                flight.handle.cancel()
                flight.handle = asyncio.get_running_loop().call_at(latest, self.apply, flight)
        if flight.attempt.verb is Verb.CLEAR:
            if judgement in (Judgement.DONE, Judgement.GONE):  # what was set before is known gone
                live = self.live(key)  # or by others, since: that is no set of ours
                truth.set_since = (live is not None and live.ours) or self.set_out(key)
            if judgement is Judgement.DONE:
                truth.clear_told_sent_at = flight.sent_at
            elif judgement is Judgement.LOST:
                truth.doubts.append(self.now + self.settle)
        elif judgement is Judgement.DONE:
            truth.set_told_at = self.now
            truth.doubts = [until for until in truth.doubts if until > flight.sent_at]
        elif judgement in REFUSALS:
            truth.set_refused_at = self.now
        self.flights = [f for f in self.flights if f.coming or not f.settled]

    def died(self, owner: str) -> None:
        """A process ended: its requests are given up."""
        for flight in [f for f in self.flights if f.owner == owner]:
            self.told(flight, Judgement.LOST)

    def set_out(self, key: Key) -> bool:
        """Whether a set may still be applied."""
        return any(f.key == key and f.attempt.verb is Verb.SET and f.coming for f in self.flights)

    def set_by_others(self, key: Key, lease: float, *, tracked: bool = False) -> None:
        """Other code of the application sets a session."""
        self.sessions[key] = Live(None, self.now + lease, ours=False, tracked=tracked)
        self.truth(key).removed = False
        self.say("set by others", key.user[-2:])
