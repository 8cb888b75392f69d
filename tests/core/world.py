"""A world in one session: Graph as it truly is, a row, and processes that follow the rules.

Graph here is the ground truth: it knows who set and who cleared what, and it applies requests
whose answer was lost at any time within `settle`. The rules see none of that; they are given the
verdicts only, and what they then claim is held against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from presence_manager.core import change, ending
from presence_manager.core.decide import Action, Finish, Rest, Send, Wait, decide, may_be_live
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import Pair
from presence_manager.core.session import Attempt, Known, Session, Terms, Wish
from presence_manager.core.verdict import Judgement, Verb, Verdict

KEY = Key(LaneId("https://graph", "app", "tenant"), "user")
START = 1_000_000.0
SEND_WITHIN = 30.0
GONE_AT_ONCE = frozenset({Judgement.DONE, Judgement.GONE})


@dataclass
class Flight:
    """A request on its way: `answer` is what Graph has done and would say.

    It may be applied before `until`: while it is waited for, and `settle` longer.
    """

    attempt: Attempt
    sent_at: float
    until: float
    answer: Judgement | None = None


@dataclass
class Graph:
    """The session as it truly is: `removed` says that a clear of ours ended the last one."""

    pair: Pair | None = None
    expires: float = 0.0
    removed: bool = False
    set_since: bool = False

    def live(self, now: float) -> bool:
        return now < self.expires

    def apply(self, attempt: Attempt, now: float) -> Judgement:
        if attempt.verb is Verb.SET:
            self.pair, self.expires = attempt.pair, now + attempt.lease
            self.removed, self.set_since = False, True
            return Judgement.DONE
        if not self.live(now):
            return Judgement.GONE
        self.expires, self.removed = now, True
        return Judgement.DONE


@dataclass
class World:
    """One session, everything about it, and the steps that may happen."""

    terms: Terms = field(default_factory=Terms)
    now: float = START
    row: Session = field(default_factory=lambda: Session(key=KEY))
    graph: Graph = field(default_factory=Graph)
    flight: Flight | None = None
    stalled: list[Flight] = field(default_factory=list)
    pending: list[Flight] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    outcomes: dict[str, Kind] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    clear_done_at: float = 0.0
    set_sent_at: float = 0.0
    doubts: list[float] = field(default_factory=list)
    numbers: count[int] = field(default_factory=lambda: count(1))

    # -- time, and what happens by itself ---------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.pending = [late for late in self.pending if self.now < late.until]
        self.check()

    def apply_late(self, index: int) -> None:
        """A request that was given up is applied after all."""
        late = self.pending.pop(index)
        assert self.now < late.until
        self.graph.apply(late.attempt, self.now)
        self.check()

    def crash(self, owner: str) -> None:
        """The process dies; a request that has left may still arrive."""
        self.dead.add(owner)
        if self.flight is not None and self.flight.attempt.owner == owner:
            self._give_up(self.flight)
            self.flight = None
        for flight in [each for each in self.stalled if each.attempt.owner == owner]:
            self.stalled.remove(flight)
        self.check()

    # -- what callers do --------------------------------------------------------------------

    def hold(self, wish: Wish, owner: str) -> None:
        self.row = change.hold(self.row, wish, self.now, owner)

    def release(self, names: frozenset[str] | None, sweep_id: str, owner: str) -> None:
        self.row = change.release(self.row, self.now, owner, names=names, sweep_id=sweep_id)

    def sweep_unknown(self, sweep_id: str, owner: str) -> None:
        until = self.now + 14_400 + self.terms.margin
        self.row = change.found(self.row, until, owner, self.terms)
        self.release(None, sweep_id, owner)

    def track(self, wish: Wish, owner: str) -> None:
        """Other code sets the session and tells us."""
        self.graph.pair, self.graph.expires = None, self.now + wish.lease
        self.graph.removed, self.graph.set_since = False, True
        live_until = self.graph.expires
        self.row = change.track(self.row, wish, self.now, owner, live_until, self.terms)

    # -- what a process does ----------------------------------------------------------------

    def unsent(self) -> bool:
        """Whether the open attempt's process knows that it has not left."""
        attempt = self.row.attempt
        return attempt is not None and attempt.owner not in self.dead and not any(
            (each.attempt.owner, each.attempt.number) == (attempt.owner, attempt.number)
            for each in (self.flight, *self.stalled) if each
        )  # fmt: skip

    def action(self, owner: str) -> Action:
        mine = owner if self.unsent() else ""
        action = decide(self.row, self.now, self.terms, self.now, mine)
        if isinstance(action, Rest):
            assert action.at > self.now, "a look that is due at once, again and again"
        if isinstance(action, Wait) and self.row.attempt is None:
            assert action.at > self.now
        return action

    def conclude(self, owner: str, verdict: Verdict | None = None) -> Action | None:
        """What the engine does after every change; None when the row is gone."""
        self.row = change.expire(self.row, self.now, owner)
        action = self.action(owner)
        while isinstance(action, Finish):
            if action.gone and not self.row.sweeps:
                self.release(frozenset(), f"own-{self.row.version}", owner)
            self._tell(action.kind)
            if action.gone:
                self.row = Session(key=KEY)
                # A lost clear that outlives its row is a known limit: nothing remembers it.
                self.pending = [p for p in self.pending if p.attempt.verb is Verb.SET]
                self.doubts = []
                self.check()
                return None
            self.row = ending.finish(self.row, self.now, owner)
            action = self.action(owner)
        self.check()
        return action

    def begin(self, owner: str) -> bool:
        """Open the attempt for what is to be done, if anything is."""
        if not self.row.version or (self.row.attempt is not None and not self._own_unsent(owner)):
            return False
        action = self.conclude(owner)
        if not isinstance(action, Send):
            if action is not None and self._own_unsent(owner):
                self.row = change.withdraw(self.row, self.now, owner)
            return False
        if action.wish is None and not self.row.sweeps:
            self.release(frozenset(), f"own-{self.row.version}", owner)
        wish = action.wish
        attempt = Attempt(
            verb=action.verb,
            owner=owner,
            number=next(self.numbers),
            send_by=self.now + SEND_WITHIN,
            wish=wish.name if wish else "",
            pair=wish.pair if wish else None,
            lease=wish.lease if wish else 0.0,
        )
        self.row = change.begin(self.row, attempt, self.now, self.terms)
        self.check()
        return True

    def _own_unsent(self, owner: str) -> bool:
        return self.row.attempt is not None and self.row.attempt.owner == owner and self.unsent()

    def send(self) -> bool:
        """The open attempt leaves."""
        attempt = self.row.attempt
        if attempt is None or not self.unsent() or self.now > attempt.send_by:
            return False
        latest = self.now + self.terms.timeout + self.terms.settle
        self.flight = Flight(attempt, self.now, latest)
        if attempt.verb is Verb.SET:
            self.set_sent_at = self.now
        return True

    def may_arrive(self) -> bool:
        flight = self.flight
        return flight is not None and flight.answer is None and self.now < flight.until

    def arrive(self) -> None:
        """Graph takes the request."""
        assert self.flight is not None
        assert self.may_arrive()
        self.flight.answer = self.graph.apply(self.flight.attempt, self.now)
        self.check()

    def answer(self, judgement: Judgement | None, recorder: str | None = None) -> Verdict:
        """The answer arrives (None: Graph's own), or does not (LOST)."""
        flight = self.flight
        assert flight is not None
        self.flight = None
        return self._record(flight, judgement, recorder)

    def stall(self) -> None:
        """The process stops while its request is out; others may take it for dead."""
        assert self.flight is not None
        self.stalled.append(self.flight)
        self.flight = None

    def wake(self) -> None:
        """A stopped process goes on, and records what came of its request."""
        flight = self.stalled.pop(0)
        judgement = flight.answer
        self._record(flight, judgement or Judgement.LOST, None)

    def _record(self, flight: Flight, judgement: Judgement | None, recorder: str | None) -> Verdict:
        judgement = judgement or flight.answer
        assert judgement is not None
        attempt, owner = flight.attempt, recorder or flight.attempt.owner
        at = min(self.now, flight.sent_at + self.terms.timeout)
        verdict = Verdict(judgement=judgement, sent_at=flight.sent_at, at=at)
        if judgement is Judgement.LOST:
            self._give_up(flight, at)
        self._learn(attempt, verdict)
        self.row = change.advance(self.row, attempt, verdict, owner, self.terms)
        if self.row.version:
            self.conclude(owner, verdict)
        return verdict

    def take_over(self, owner: str) -> bool:
        """Close the attempt of a process that is dead or silent for too long."""
        attempt = self.row.attempt
        if attempt is None or attempt.owner == owner:
            return False
        over = self.now >= attempt.send_by + self.terms.timeout + self.terms.margin
        if attempt.owner not in self.dead and not over:
            return False
        if attempt.verb is Verb.CLEAR:
            self.doubts.append(self.now + self.terms.settle)
        self.row = change.abandon(self.row, self.now, owner, self.terms)
        self.conclude(owner)
        return True

    def recover(self, owner: str, sweep_id: str) -> None:
        """End the holds of the dead."""
        if not self.row.version:
            return
        self.take_over(owner)
        names = frozenset(w.name for w in self.row.wishes if w.owner in self.dead)
        if self.row.version:
            self.release(names, "" if names < self._live() else sweep_id, owner)

    def _live(self) -> frozenset[str]:
        return frozenset(w.name for w in self.row.wishes if w.live(self.now))

    def cut(self) -> None:
        """A deadline passes: what still waits is unfinished."""
        if self.row.sweeps and self.row.attempt is None and self.row.newest(self.now) is None:
            self._tell(Kind.UNFINISHED)

    # -- the truth --------------------------------------------------------------------------

    def _give_up(self, flight: Flight, at: float | None = None) -> None:
        if flight.answer is None:
            given_up = min(self.now, flight.until - self.terms.settle)
            flight.until = (given_up if at is None else at) + self.terms.settle
            if self.now < flight.until:
                self.pending.append(flight)

    def _learn(self, attempt: Attempt, verdict: Verdict) -> None:
        """Keep the books of what our clears may have done, apart from the rules."""
        if attempt.verb is Verb.CLEAR:
            if verdict.judgement is Judgement.DONE:
                self.clear_done_at = verdict.sent_at
            elif verdict.judgement is Judgement.LOST:
                self.doubts.append(verdict.at + self.terms.settle)
        elif verdict.judgement is Judgement.DONE:
            self.doubts = [until for until in self.doubts if until > verdict.sent_at]

    def _tell(self, kind: Kind) -> None:
        for sweep in self.row.sweeps:
            before = self.outcomes.get(sweep)
            assert before is None or not before.final, f"{sweep} had {before}, now {kind}"
            self.outcomes[sweep] = kind
        self.log.append(kind)
        if not kind.final:
            return
        truth = self.graph
        out = [p for p in (*self.pending, *self.stalled, self.flight) if p and not p.answer]
        sets_out = [p for p in out if p.attempt.verb is Verb.SET and self.now < p.until]
        if kind is Kind.CLEARED:
            assert self.clear_done_at >= self.set_sent_at, "no clear since the last set got its 200"
        if kind is Kind.ALREADY_GONE:
            assert not self.doubts, "a clear of ours may explain the 404"
            assert not truth.removed, "it was our own clear that ended it"
        if kind is Kind.GONE_AFTER_RETRY:
            assert self.doubts or self.clear_done_at, "no clear of ours was ever in doubt"
        if kind is Kind.NEVER_SET:
            assert not truth.set_since, "it had been set"
        if kind is not Kind.SUPERSEDED and self.row.newest(self.now) is None:
            assert not truth.live(self.now), f"{kind} while it is shown"
            assert not sets_out, f"{kind} while a set may still be applied"
            truth.removed = truth.set_since = False

    def check(self) -> None:
        """Never forgotten: what may be live is in the row (rule 1)."""
        row = self.row
        if self.graph.live(self.now):
            assert row.version, "the session is live and has no row"
            assert may_be_live(row, self.terms, self.now), "the session is live, the row denies it"
        if row.known is Known.ABSENT and row.attempt is None:
            assert not [p for p in self.pending if p.attempt.verb is Verb.SET], "a set may come"

    # -- left in peace ----------------------------------------------------------------------

    def settle_down(self, owner: str, late_first: bool) -> Action | None:
        """Let an honest Graph and a patient process go on until all is at rest."""
        for _ in range(60):
            if self.stalled:
                self.wake()
            if self.flight is not None:
                if self.may_arrive():
                    self.arrive()
                self.answer(self.flight.answer or Judgement.LOST)
            self.take_over(owner)
            if not self.row.version:
                return None
            if self.pending and late_first:
                self.apply_late(0)
            if self.begin(owner):
                self.send()
                continue
            if not self.row.version:
                return None
            action = self.action(owner)
            if self.pending and not late_first:
                self.apply_late(0)
            elif self.row.attempt is not None or isinstance(action, Wait):
                self.pass_time(60.0)
            elif isinstance(action, Rest) and action.at <= max(
                self.row.sets_settle, self.row.clears_settle
            ):
                self.pass_time(action.at - self.now)
            else:
                return action
        raise AssertionError("it does not come to rest")
