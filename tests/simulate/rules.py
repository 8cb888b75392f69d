"""The twelve rules (design, section 4), held against the truth at every step.

Rule 8 is seen by the calls (`actors`), rule 9 needs no simulator: no secret is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Attempt, Known, Session, Step, Wish
from presence_manager.core.verdict import Verb
from presence_manager.gate.gate import FIRST_WAIT

from .loop import START
from .plan import Plan
from .world import World

TOLERANCE = 1e-5
"""Seconds lost in sums of seconds since the epoch."""

TELLING = (Kind.CLEARED, Kind.GONE_AFTER_RETRY)
"""What a sweep is told of clears that were, or may have been, applied."""


class Broken(Exception):
    """A rule is broken: its number, and how."""

    def __init__(self, rule: int, text: str) -> None:
        super().__init__(f"rule {rule}: {text}")
        self.rule = rule


class Judge:
    """Sees every commit, every request and every change on Graph; the first fault stays."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.rows: dict[Key, Session] = {}
        self.outcomes: dict[tuple[str, Key], Kind] = {}
        self.waiting: dict[tuple[str, Key], None] = {}
        self.lives: dict[str, Any] = {}
        self.broken: Broken | None = None
        self.commits = 0
        world.on_change = self.look

    def blame(self, rule: int, text: str) -> None:
        if self.broken is None:
            self.world.say("BROKEN", rule, text)
            self.broken = Broken(rule, f"{text} (at {self.world.now:.3f} s)")

    # -- rule 1 -----------------------------------------------------------------------------

    def look(self, key: Key, why: str) -> None:
        live = self.world.live(key)
        if live is None or not live.ours:
            return
        row = self.rows.get(key)
        if row is None:
            self.blame(1, f"user {key.user[-2:]} is shown and has no row, after {why}")
        elif row.known is Known.ABSENT and row.attempt is None:
            self.blame(1, f"user {key.user[-2:]} is shown, the row denies it, after {why}")

    # -- every commit -----------------------------------------------------------------------

    def committed(self, life: Any, steps: Sequence[Step], lost: Mapping[int, Session]) -> None:
        for index, step in enumerate(steps):
            if index in lost:
                continue
            self.commits += 1
            key, row = step.row.key, step.row
            if key.lane.app != life.app or key.lane.origin != life.origin:
                self.blame(11, f"{life.owner[-4:]} wrote a row of {key.lane}")
            before = self.rows.get(key)
            if life.closed and not life.slow_end:  # a slow disk ends what it was given
                self.blame(7, f"{life.owner[-4:]} wrote after it was closed")
            self._new_clear(life, before, row, step.delete)
            self._ages(life, before, row)
            if before is not None and before.doubt and before.owner != row.owner:
                self.world.truth(key).adopted = True
            for outcome in step.outcomes:
                self._outcome(outcome, row, step.delete)
            if row.known is Known.ABSENT and any(o.kind in TELLING for o in step.outcomes):
                self.world.truth(key).clearing_told(self.world.now)
            self.waiting.update(dict.fromkeys((sweep, key) for sweep in row.sweeps))
            self.world.say("row", life.owner[-4:], key.user[-2:], _short(row, step.delete))
            if step.delete:
                self.rows.pop(key, None)
                self._ended(key)
            else:
                self.rows[key] = row
            self.look(key, "a commit")

    def _new_clear(self, life: Any, before: Session | None, row: Session, delete: bool) -> None:
        """Rule 5: no clear is begun while somebody holds the session."""
        attempt = row.attempt
        if delete or attempt is None or attempt.verb is not Verb.CLEAR:
            return
        if before is not None and before.attempt == attempt:
            return
        if row.newest(life.clock.now()) is not None:
            self.blame(5, f"a clear was begun for user {row.user[-2:]}, whom somebody holds")

    def _ages(self, life: Any, before: Session | None, row: Session) -> None:
        known = before.wishes if before is not None else ()
        for wish in row.wishes:
            if wish not in known and wish.until - wish.made_at > self.plan.max_age + TOLERANCE:
                self.blame(12, f"the hold {wish.name} of user {row.user[-2:]} lives too long")

    def _ended(self, key: Key) -> None:
        if self.world.set_out(key):
            self.blame(1, f"the row of user {key.user[-2:]} ended while a set may be applied")
        self.world.truth(key).begin()

    # -- rules 2 and 3 ----------------------------------------------------------------------

    def _outcome(self, outcome: Outcome, row: Session, delete: bool) -> None:
        told = (outcome.sweep_id, outcome.key)
        before = self.outcomes.get(told)
        if before is not None and before.final:
            self.blame(3, f"{told[0][:6]} had {before}, then {outcome.kind}")
            return
        self.outcomes[told] = kind = outcome.kind
        self.world.say("outcome", outcome.sweep_id[:6], outcome.key.user[-2:], kind)
        truth = self.world.truth(outcome.key)
        live = self.world.live(outcome.key)
        if kind is Kind.CLEARED and truth.clear_told_sent_at < truth.set_sent_at:
            self.blame(2, "cleared, without a delivered 200 since the last set")
        if kind is Kind.ALREADY_GONE and (truth.removed or truth.doubts):
            self.blame(2, "already_gone, though a clear of ours may explain the 404")
        # An attempt that a process left open, killed or without its disk, may have left. And with
        # a disk in trouble an answer may not have been written, or a mark stands for it.
        crashed = any(life.dead or life.slow_end for life in self.lives.values()) or any(
            disk.at <= self.world.now for disk in self.plan.disks
        )
        if (
            kind is Kind.GONE_AFTER_RETRY
            and not crashed
            and not (truth.doubts or truth.adopted or truth.clear_told_sent_at > 0)
        ):
            self.blame(2, "gone_after_retry, though no clear of ours was ever in doubt")
        if kind is Kind.NEVER_SET and truth.set_since:
            self.blame(2, "never_set, though it was set")
        if kind.final and delete and live is not None and live.ours:
            self.blame(2, f"{kind}, and it is shown")

    # -- rules 6, 7, 11: every request ------------------------------------------------------

    def leaving(self, life: Any, lane: LaneId, asks: Sequence[tuple[Key, Attempt]]) -> None:
        now = self.world.now
        if life.closed:
            self.blame(7, f"{life.owner[-4:]} sent after close() had returned")
        if lane.app != life.app or lane.origin != life.origin:
            self.blame(11, "a request for another application or Graph")
        if now < life.shut.get(lane, 0.0) - TOLERANCE:
            self.blame(6, f"sent at {now:.3f}, Retry-After ends at {life.shut[lane]:.3f}")
        for key, attempt in asks:
            row = self.rows.get(key)
            if row is None:
                # of somebody unknown, where the ledger fails: a clear may leave all the same
                if attempt.verb is Verb.SET or not self._disk_fails(life.slot):
                    self.blame(1, f"a request for user {key.user[-2:]} left without a row")
            elif attempt.verb is Verb.SET and (row.known is Known.ABSENT and row.attempt is None):
                self.blame(1, f"a set for user {key.user[-2:]} left, and the row denies it")

    def _disk_fails(self, slot: int) -> bool:
        now = self.world.now
        return any(d.slot == slot and d.at <= now <= d.at + d.span + 10.0 for d in self.plan.disks)

    def left(self, life: Any, lane: LaneId, count: int) -> None:
        """Rule 6: no window holds more than the budget."""
        sent = life.sent.setdefault(lane, [])
        sent += [self.world.now] * count
        over = len(sent) - 1 - self.plan.budget
        if over >= 0 and sent[-1] - sent[over] < 30.0 - TOLERANCE:
            self.blame(6, f"{self.plan.budget + 1} requests within {sent[-1] - sent[over]:.3f} s")

    def refused(self, life: Any, lane: LaneId, retry_after: float | None) -> None:
        wait = life.named.get(lane, FIRST_WAIT) if retry_after is None else retry_after
        life.named[lane] = min(FIRST_WAIT, wait)  # one without a time goes on from the one before
        life.shut[lane] = max(life.shut.get(lane, 0.0), self.world.now + wait)

    def answered(self, life: Any, lane: LaneId, count: int) -> None:
        """A request is over; the gate is asked about it when its process closes."""

    # -- in peace ---------------------------------------------------------------------------

    def peace(self) -> None:
        """Rules 1, 4, 5 and 12: in peace the world is as the newest hold wants it."""
        now = self.world.now
        for key in sorted({*self.rows, *self.world.sessions}):
            row, live = self.rows.get(key), self.world.live(key)
            if live is not None and not live.ours:
                continue
            last = self.world.sessions.get(key)
            if last is not None and not last.ours and not last.tracked:
                continue  # it took the place of ours and ran out, and nobody was told
            wish = None
            if row is not None:
                life = self.lives.get(row.wishes[-1].owner) if row.wishes else None
                wish = row.newest(life.clock.now() if life is not None else START + now)
            seen = self._seen(row) if row is not None else set()
            if len(seen) > 1:
                continue  # an end is read on the clock of whoever looks (README)
            wish = next(iter(seen), wish)
            name = key.user[-2:]
            holder = self.lives.get(wish.owner) if wish is not None else None
            if holder is not None and (holder.dead or holder.closing):
                continue  # nobody may be there to recover it
            keeper = self.lives.get(row.owner) if row is not None else None
            if keeper is not None and keeper.closing:
                continue  # left unfinished at a close: the next start goes on with it
            if wish is None or wish.pair is None:
                if live is not None and wish is None:
                    self.blame(4, f"user {name} is shown in peace, and nobody holds it")
            elif wish.owner and live is None:
                self.blame(4, f"user {name} is not shown, and {wish.name} holds it")
            elif wish.owner and live is not None and live.pair != wish.pair:
                self.blame(4, f"user {name} is shown {live.pair}, and wanted {wish.pair}")

    def latest_clock(self) -> float:
        """What the clock says that is ahead of all: its process may end a hold by it (README)."""
        return float(max(life.clock.now() for life in self.lives.values()))

    def _seen(self, row: Session) -> set[Wish | None]:
        """The hold that counts, by the clock of each process."""
        return {
            row.newest(life.clock.now())
            for life in self.lives.values()
            if not (life.dead or life.closed)
        }

    def at_the_end(self) -> None:
        """Rules 1 and 3: nothing is left, and every sweep has its outcome."""
        for key in sorted(self.world.sessions):
            live = self.world.live(key)
            if live is not None and live.ours:
                self.blame(1, f"user {key.user[-2:]} is shown at the end")
        for key in sorted(self.rows):
            self.blame(1, f"the row of user {key.user[-2:]} is left: {_short(self.rows[key])}")
        for sweep, key in self.waiting:
            kind = self.outcomes.get((sweep, key))
            if kind is None or not kind.final:
                self.blame(3, f"{sweep[:6]} has {kind} for user {key.user[-2:]} at the end")


def _short(row: Session, delete: bool = False) -> str:
    if delete:
        return "deleted"
    a = row.attempt
    wishes = [f"{w.name}:{w.owner[-4:]}:{w.pair}:{w.until - START:.0f}" for w in row.wishes]
    return (
        f"v{row.version % 10000} {row.known} {row.pair} wishes={wishes} "
        f"attempt={(a.verb.value, a.owner[-4:], a.number) if a else None} "
        f"sets={row.sets_settle - START:.2f} clears={row.clears_settle - START:.2f} "
        f"doubt={row.doubt} answer={row.answer} sweeps={[s[:6] for s in row.sweeps]}"
    )
