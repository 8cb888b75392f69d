"""A lane: all that waits for Graph on behalf of one application in one tenant.

A lane queues sessions, not requests: what is asked is decided when it leaves, so that a hold and
its release that meet in the queue cancel out, and no request ever carries a session twice. What
arrives while all slots are taken waits, and leaves together.

Everything here runs on the event loop: `_pump` decides, in one short step, and starts tasks that
do. An entry is `busy` from then until `_deliver` has told what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol

import structlog

from presence_manager.core.decide import Finish, Rest, Send, Wait
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.session import Session, Terms
from presence_manager.core.verdict import Verdict
from presence_manager.engine.commit import Planner, Work, commit
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.gate import Gate
from presence_manager.engine.plan import Now, Plan, give_up, take_over, withdraw
from presence_manager.engine.queue import LaneQueue
from presence_manager.engine.request import Request
from presence_manager.engine.retry import RetryPolicy
from presence_manager.errors import LedgerError
from presence_manager.ports import Clock, Graph, Ledger, Query

log = structlog.get_logger()

FULL_BATCH = 20
"""Sessions in one $batch (Graph: json-batching)."""
FOREIGN_POLL = 0.25
"""Seconds between two looks at a session that another process is busy with."""
LEDGER_PAUSE = 1.0
"""Seconds before a commit that failed is tried again."""


class Audience(Protocol):
    """Who is told what became of the sessions."""

    def rested(self, row: Session, at: float) -> None:
        """A session came to rest; it wants a look at `at` (infinite: never)."""
        ...

    def refused(self, key: Key, name: str, verdict: Verdict) -> None:
        """The hold of that name was refused for good, by Graph or the sign-in."""
        ...

    def became(self, outcome: Outcome) -> None:
        """A session has an outcome in a sweep."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneTerms:
    """How lanes behave. `retry` is in seconds, `width` counts HTTP requests in flight."""

    terms: Terms
    policy: RetryPolicy
    batching: bool = True
    width: int = 8
    retry: float = 60.0


class Lane:
    """See the module."""

    def __init__(
        self,
        lane: LaneId,
        *,
        ledger: Ledger,
        graph: Graph,
        clock: Clock,
        gate: Gate,
        how: LaneTerms,
        now: Callable[[], Now],
        audience: Audience,
    ) -> None:
        self.id = lane
        self.moment = now
        self.ledger = ledger
        self.graph = graph
        self.clock = clock
        self.gate = gate
        self.how = how
        self.batching = how.batching
        self.stopping = False
        self._audience = audience
        self._entries: dict[Key, Entry] = {}
        self._inbox: list[Entry] = []
        self._queue = LaneQueue()
        self._later: list[tuple[float, int, Entry]] = []
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._pump_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._shut: Callable[[Entry, Session], Plan] | None = None

    def __repr__(self) -> str:
        return (
            f"<Lane {self.id.tenant}: {len(self._queue)} queued, {len(self._later)} waiting, "
            f"{self._in_flight} requests in flight, {self.gate!r}>"
        )

    # -- from above -------------------------------------------------------------------------

    def submit(self, row: Session, rank: Rank, deadline: float = inf) -> None:
        """See to this session: `row` is what the ledger has of it now."""
        entry = self._entries.get(row.key)
        if entry is None:
            entry = self._entries[row.key] = Entry(row, rank)
        else:
            if row.version > entry.row.version:
                entry.see(row)
            self._queue.promote(entry, rank)
            self._hurry(entry, deadline)
        entry.deadline = min(entry.deadline, deadline)
        if not entry.busy:
            self._examine_again(entry)
        self._wake()

    def number(self) -> int:
        """A number for an attempt, unique in this process's life."""
        return next(self._numbers)

    async def cut(self, sweep_id: str) -> None:
        """The deadline of a sweep is over: what it still waits for is unfinished.

        Unless the lane is stopped, the work itself goes on in the background.
        """
        now = self.moment()
        work: list[Work] = []
        for entry in self._entries.values():
            if sweep_id in entry.row.sweeps:
                entry.deadline = min(entry.deadline, now.at)
                if entry.busy:
                    _shorten(entry, 0.5)
                else:
                    self._take(entry)
                    work.append((entry, self.surrender(entry, now)))
        await self.apply(work)

    async def stop(self) -> None:
        """Send nothing more; end what is in flight, and write down that it was cut off."""
        self.stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for entry in self._entries.values():
            _shorten(entry, 0.0)
        while self._tasks:
            await asyncio.wait(self._tasks)

    # -- the pump: decide -------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._pump_due and not self.stopping:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Let leave what may leave now."""
        self._pump_due = False
        if self.stopping:
            return
        now = self.moment()
        while self._later and self._later[0][0] <= now.at:
            entry = heappop(self._later)[2]
            if self._entries.get(entry.key) is entry and not entry.busy:
                self._examine_again(entry)
        self._examine(now)
        while self._in_flight < self.how.width:
            most = FULL_BATCH if self.batching else 1
            chunk = self._chunk(min(self.gate.free(now.at), most))
            if not chunk:
                break
            self.gate.leave(len(chunk))
            self._in_flight += 1
            self._spawn(self._fly(chunk))
        self._arm(now.at)

    def _examine_again(self, entry: Entry) -> None:
        self._queue.remove(entry)
        self._inbox.append(entry)

    def _examine(self, now: Now) -> None:
        """Sort the inbox: what wants a request queues for it, the rest goes to the books."""
        books: list[Work] = []
        stale: list[Entry] = []
        inbox, self._inbox = self._inbox, []
        for entry in inbox:
            if entry.busy or entry.queued:
                continue
            action = now.decide(entry.row)
            at = max(entry.not_before, self.gate.closed_until)
            if entry.stale:
                stale.append(entry)
            elif not isinstance(action, Send):
                books.append(
                    (
                        entry,
                        partial(take_over, now=now)
                        if isinstance(action, Wait)
                        else partial(withdraw, now=now),
                    )
                )
            elif self._shut is not None:
                books.append((entry, partial(self._shut, entry)))
            elif self._too_late(entry, at):
                books.append((entry, self.surrender(entry, now)))
            elif entry.not_before > now.at:
                self._postpone(entry, entry.not_before)
            else:
                self._queue.push(entry)
        for entry, _ in books:
            self._take(entry)
        for entry in stale:
            self._take(entry)
        if books:
            self._spawn(self.apply(books))
        if stale:
            self._spawn(self._reread(stale))

    def _chunk(self, size: int) -> list[Entry]:
        """Take up to `size` sessions from the queue, or one that must go alone."""
        chunk: list[Entry] = []
        while len(chunk) < size and (entry := self._queue.pop()):
            if entry.singly and chunk:
                self._queue.push_front(entry)
                break
            entry.busy = True
            chunk.append(entry)
            if entry.singly:
                break
        return chunk

    def _take(self, entry: Entry) -> None:
        self._queue.remove(entry)
        entry.busy = True

    def _too_late(self, entry: Entry, at: float) -> bool:
        """Whether a wait until `at` would end after a deadline that is still ahead."""
        return self.clock.now() < entry.deadline < at

    def _hurry(self, entry: Entry, deadline: float) -> None:
        """A sweep came for a session whose request is in flight: it gets a third of the time."""
        if deadline < inf:
            _shorten(entry, max(0.0, (deadline - self.clock.now()) / 3))

    def _postpone(self, entry: Entry, at: float) -> None:
        heappush(self._later, (at, next(self._numbers), entry))

    def _arm(self, now: float) -> None:
        """Set the timer for the next thing that time alone will bring."""
        at = self._later[0][0] if self._later else inf
        if self._queue and self._in_flight < self.how.width:
            at = min(at, self.gate.next_free(now))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at < inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, at - now), self._wake)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the tasks: do ----------------------------------------------------------------------

    async def _fly(self, chunk: list[Entry]) -> None:
        """Make one request."""
        try:
            await Request(self, chunk).run()
        finally:
            self._in_flight -= 1
            self._wake()

    async def _reread(self, entries: list[Entry]) -> None:
        """See what another process has made of these sessions, and whether it is still there."""
        try:
            rows = await self.ledger.get([entry.key for entry in entries])
            alive = await self.ledger.alive()
        except LedgerError as error:
            log.error("ledger.failed", tenant=self.id.tenant, error=str(error))
            for entry in entries:
                entry.busy = False
                self._postpone(entry, self.clock.now() + LEDGER_PAUSE)
            return
        now = self.moment()
        work: list[Work] = []
        for entry, row in zip(entries, rows, strict=True):
            if row.version != entry.row.version:
                entry.see(row)
            entry.stale = False
            owner = row.attempt.owner if row.attempt is not None else ""
            dead = frozenset({owner}) - alive
            work.append((entry, partial(take_over, now=now, dead=dead)))
        await self.apply(work)

    async def apply(self, work: list[Work]) -> None:
        """Commit plans, tell who waits, and go on with what is left to do.

        While the ledger fails it is tried again and again: a verdict must not be forgotten. A
        lane that is being stopped gives up, and its outcomes go unrecorded.
        """
        if work:
            self.deliver(await self.committed(work))

    async def committed(self, work: list[Work]) -> list[tuple[Entry, Plan]]:
        """Commit plans, however long the ledger may fail."""
        while True:
            try:
                return await commit(self.ledger, work)
            except LedgerError as error:
                log.error("ledger.failed", tenant=self.id.tenant, error=str(error))
                if self.stopping:
                    return [(entry, planner(entry.row).unrecorded()) for entry, planner in work]
            await asyncio.sleep(LEDGER_PAUSE)

    def deliver(self, plans: list[tuple[Entry, Plan]]) -> None:
        """Tell what became of the sessions, and go on with what is left to do."""
        for entry, plan in plans:
            entry.busy = False
            for outcome in plan.outcomes:
                self._audience.became(outcome)
            if entry.missing:
                missing, entry.missing = entry.missing, ()
                self._spawn(self._look_up(entry.key, missing))
            self._go_on(entry, plan)
        self._wake()

    def _go_on(self, entry: Entry, plan: Plan) -> None:
        action = plan.action
        if isinstance(action, Send) or entry.row.version > plan.row.version:
            self._examine_again(entry)
        elif isinstance(action, Wait):
            at = action.at
            if plan.row.attempt is not None:
                entry.stale = True
                at = min(at, self.clock.now() + FOREIGN_POLL)
            elif self._too_late(entry, at):
                self._take(entry)
                self._spawn(self.apply([(entry, self.surrender(entry, self.moment()))]))
                return
            self._postpone(entry, at)
        else:
            self._rest(entry, action)

    def _rest(self, entry: Entry, action: Rest | Finish) -> None:
        del self._entries[entry.key]
        for name, verdict in (entry.refused or {}).items():
            self._audience.refused(entry.key, name, verdict)
        self._audience.rested(entry.row, action.at if isinstance(action, Rest) else inf)

    def surrender(self, entry: Entry, now: Now) -> Planner:
        """Leave a clear for after its deadline; go on with it as soon as Graph allows."""
        again_at = max(now.at + 1.0, entry.not_before, self.gate.closed_until)
        return partial(
            give_up,
            now=now,
            kind=Kind.UNFINISHED,
            reason="deadline",
            verdict=entry.verdict,
            again_at=again_at,
        )

    def examine_all(self) -> None:
        """Look at all that is queued again: the door has been shut, or the sign-in refused."""
        self._inbox += self._queue.drain()

    def shut(self, planner: Callable[[Entry, Session], Plan], seconds: float) -> None:
        """Answer all that comes in the next seconds by `planner`, without a request."""
        self._shut = planner
        self.examine_all()
        asyncio.get_running_loop().call_later(seconds, self._unshut)

    def _unshut(self) -> None:
        self._shut = None

    async def _look_up(self, key: Key, sweeps: tuple[str, ...]) -> None:
        """Another process has finished a session for us: read what became of it."""
        for sweep_id in sweeps:
            query = Query(
                origin=key.lane.origin,
                app=key.lane.app,
                sweep_id=sweep_id,
                tenant=key.lane.tenant,
                user=key.user,
            )
            try:
                for _, outcome in await self.ledger.outcomes(query, 0, 1):
                    self._audience.became(outcome)
            except LedgerError as error:
                log.error("ledger.failed", tenant=self.id.tenant, error=str(error))


def _shorten(entry: Entry, seconds: float) -> None:
    """Let the request in flight, if there is one, take no longer than that."""
    scope = entry.scope
    if scope is not None and not scope.expired():
        at = asyncio.get_running_loop().time() + seconds
        when = scope.when()
        scope.reschedule(at if when is None else min(at, when))
