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
from functools import partial
from itertools import count
from math import inf
from typing import Any

import structlog

from presence_manager.core.decide import Rest, Send, Wait
from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Session
from presence_manager.core.verdict import Verb, Verdict
from presence_manager.engine.books import Audience, Books
from presence_manager.engine.commit import Planner, Work
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.gate import Gate
from presence_manager.engine.later import Later
from presence_manager.engine.plan import Now, Plan, give_up, take_over, withdraw
from presence_manager.engine.queue import LaneQueue
from presence_manager.engine.request import Request
from presence_manager.engine.retry import LaneTerms
from presence_manager.engine.share import LaneShare
from presence_manager.engine.width import Width
from presence_manager.ports import Clock, Graph, Ledger

log = structlog.get_logger()

FULL_BATCH = 20  # sessions in one $batch (Graph: json-batching)
FOREIGN_POLL = 0.25  # seconds between two looks at what another process is busy with


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
        self.graph = graph
        self.clock = clock
        self.gate = gate
        self.how = how
        self.batching = how.batching
        self.stopping = False
        self._entries: dict[Key, Entry] = {}
        self._inbox: list[Entry] = []
        self._queue = LaneQueue()
        self._later = Later(self._wake)
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self.width = Width(how.width)
        self._share = LaneShare(lane, now().owner, ledger=ledger, clock=clock, gate=gate)
        self._room = asyncio.Event()
        self._roomy = 0
        self._pump_due = False
        self.books = Books(
            ledger=ledger,
            moment=now,
            audience=audience,
            spawn=self._spawn,
            go_on=self._go_on,
            wake=self._wake,
            log=log.bind(tenant=lane.tenant),
        )
        self._shut: Callable[[Entry, Session], Plan] | None = None

    def __repr__(self) -> str:
        return (
            f"<Lane {self.id.tenant}: {len(self._queue)} queued, {len(self._later)} waiting, "
            f"{self._in_flight} requests in flight, {self.gate!r}>"
        )

    # -- from above -------------------------------------------------------------------------

    def submit(
        self, row: Session, rank: Rank, deadline: float = inf, send: Send | None = None
    ) -> None:
        """See to this session: `row` is what the ledger has of it now.

        `send` is what is to be done about it, if that has been decided already.
        """
        entry = self._entries.get(row.key)
        if entry is None:
            entry = self._entries[row.key] = Entry(row, rank)
        else:
            if row.version > entry.row.version:
                entry.see(row)
            self._queue.promote(entry, rank)
            if deadline < inf:  # a request in flight gets a third of what is left
                entry.shorten((deadline - self.clock.now()) / 3)
        if send is not None and entry.row is row:
            entry.action = row, send
        entry.deadline = min(entry.deadline, deadline)
        if not entry.busy:
            self._examine_again(entry)
        self._wake()

    def __len__(self) -> int:
        """How many sessions are at work."""
        return len(self._entries)

    def has(self, key: Key) -> bool:
        """Whether the session is at work."""
        return key in self._entries

    async def room(self, window: int) -> None:
        """Wait until fewer than `window` sessions are at work here."""
        while len(self._entries) >= window:
            self._roomy = window // 2
            self._room.clear()
            await self._room.wait()

    def trouble(self, key: Key) -> Verdict | None:
        """The last verdict on a session that is still at work."""
        entry = self._entries.get(key)
        return entry.verdict if entry is not None else None

    def number(self) -> int:
        """A number for an attempt, unique in this process's life."""
        return next(self._numbers)

    async def cut(self, sweep_id: str) -> None:
        """The deadline of a sweep is over: what it still waits for is unfinished.

        Unless the lane is stopped, the work itself goes on in the background.
        """
        entries = [e for e in self._entries.values() if sweep_id in e.row.sweeps]
        now = self.clock.now()
        for entry in entries:
            entry.deadline = min(entry.deadline, now)
        await self._give_up(entries, 0.5)

    async def stop(self) -> None:
        """Send nothing more; end what is in flight, and write down that it was cut off."""
        self.stopping = self.books.stopping = True
        self._later.stop()
        for _ in range(2):  # the second time for what the first has set free
            await self._give_up(list(self._entries.values()), 0.0)
            while self._tasks:
                await asyncio.wait(self._tasks)
        self._room.set()
        await self._share.settle()

    async def _give_up(self, entries: list[Entry], seconds: float) -> None:
        """Leave these for later: at once what is idle, what is in flight within `seconds`."""
        now = self.moment()
        work: list[Work] = []
        for entry in entries:
            if entry.busy:
                entry.shorten(seconds)
            else:
                self._take(entry)
                work.append((entry, self.surrender(entry, now)))
        await self.books.apply(work)

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
        for entry in self._later.due(now.at):
            if self._entries.get(entry.key) is entry and not entry.busy:
                self._examine_again(entry)
        self._examine(now)
        self._plan(now)
        silent = self.width.silent_until
        while self._in_flight < self.width.now and now.at >= silent:
            chunk = self._chunk(now.at, min(self.gate.free(now.at), self._most))
            if not chunk:
                break
            self.gate.leave(len(chunk))
            self._in_flight += 1
            self._spawn(self._fly(chunk))
        self._draw(now.at)
        at = inf
        if self._queue and not self._share.drawing and self._in_flight < self.width.now:
            at = max(silent, self.gate.next_free(now.at))
        self._later.arm(now.at, at)

    @property
    def _most(self) -> int:
        return FULL_BATCH if self.batching else 1

    def _draw(self, now: float) -> None:
        """Ask the ledger for slots, or tell it what nobody needs any more."""
        draw = self._share.draw(len(self._queue))
        if draw is not None:
            self._spawn(self._share.take(draw, self._wake))
        elif not self._entries and self._share.unsettled:
            self._spawn(self._share.settle())

    def _plan(self, now: Now) -> None:
        """Give up at once what cannot leave before its deadline, whatever comes."""
        queue = self._queue
        if not queue.bound or queue.bound <= self.gate.free(now.at):
            return
        room = self.gate.capacity(now.at, queue.deadline)
        if queue.bound <= room:
            return
        work: list[Work] = []
        for entry in queue.excess(int(room)):
            entry.busy = True
            again_at = max(entry.deadline, self.again_at(entry, now.at))
            planner = partial(
                give_up, now=now, reason="budget", verdict=entry.verdict, again_at=again_at
            )
            work.append((entry, planner))
        self._spawn(self.books.apply(work))

    def _examine_again(self, entry: Entry) -> None:
        self._queue.remove(entry)
        self._inbox.append(entry)

    def _examine(self, now: Now) -> None:  # noqa: PLR0912 - a branch for each thing wanted
        """Sort the inbox: what wants a request queues for it, the rest goes to the books."""
        books: list[Work] = []
        stale: list[Entry] = []
        inbox, self._inbox = self._inbox, []
        for entry in inbox:
            if entry.busy or entry.queued or self._entries.get(entry.key) is not entry:
                continue
            action = entry.decide(now)
            planner: Planner | None = None
            if entry.stale and entry.deadline >= now.at:
                stale.append(entry)
            elif isinstance(action, Wait):
                planner = partial(take_over, now=now)
                if entry.deadline < now.at:
                    planner = self.surrender(entry, now)
            elif not isinstance(action, Send):
                planner = partial(withdraw, now=now)
            elif self._shut is not None:
                planner = partial(self._shut, entry)
            elif action.verb is Verb.CLEAR and self.too_late(entry, now.at):
                planner = self.surrender(entry, now)
            elif entry.not_before > now.at:
                self._later.put(entry, entry.not_before)
                continue
            else:
                self._queue.push(entry)
                continue
            entry.busy = True
            if planner is not None:
                books.append((entry, planner))
        if books:
            self._spawn(self.books.apply(books))
        if stale:
            self._spawn(self.books.reread(stale))

    def _chunk(self, now: float, size: int) -> list[Entry]:
        """Take up to `size` sessions from the queue, or one that must go alone."""
        chunk: list[Entry] = []
        if size <= 0:
            return chunk
        renewals = self.gate.renewals(now)
        while len(chunk) < size and (entry := self._queue.pop(renewals=renewals > 0)):
            if entry.singly and chunk:
                self._queue.push(entry, first=True)
                break
            entry.busy = True
            renewals -= entry.rank is Rank.RENEWAL
            chunk.append(entry)
            if entry.singly:
                break
        return chunk

    def _take(self, entry: Entry) -> None:
        self._queue.remove(entry)
        entry.busy = True

    def too_late(self, entry: Entry, now: float) -> bool:
        """Whether nothing can leave for this session before its deadline."""
        return entry.deadline < max(now, entry.not_before, self.gate.closed_until)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("lane.fault", tenant=self.id.tenant, exc_info=error)

    # -- the tasks: do ----------------------------------------------------------------------

    async def _fly(self, chunk: list[Entry]) -> None:
        """Make one request."""
        try:
            await Request(self, chunk).run()
        finally:
            self._in_flight -= 1
            self._wake()

    def _go_on(self, entry: Entry, plan: Plan) -> None:
        """What the commit of a plan leaves to do."""
        action = plan.action
        if isinstance(action, Send) or entry.row.version > plan.row.version:
            self._examine_again(entry)
        elif isinstance(action, Wait):
            at = action.at
            entry.stale = plan.row.attempt is not None  # another process is busy with it
            if entry.stale:
                at = self.clock.now() + FOREIGN_POLL
            if entry.deadline < at:
                self._take(entry)
                self._spawn(self.books.apply([(entry, self.surrender(entry, self.moment()))]))
                return
            self._later.put(entry, at)
        else:
            del self._entries[entry.key]
            if len(self._entries) <= self._roomy:
                self._room.set()
            self.books.rested(entry, action.at if isinstance(action, Rest) else inf)

    def surrender(self, entry: Entry, now: Now) -> Planner:
        """Leave a clear for after its deadline; go on with it as soon as Graph allows."""
        again_at = self.again_at(entry, now.at)
        return partial(give_up, now=now, verdict=entry.verdict, again_at=again_at)

    def again_at(self, entry: Entry, now: float) -> float:
        """When to go on with what a deadline cut off."""
        return max(now + 1.0, entry.not_before, self.gate.closed_until)

    def examine_all(self) -> None:
        """Look at all that is queued again: the door has been shut, or the sign-in refused."""
        self._inbox += self._queue.drain()

    def throttled(self) -> None:
        """The door has been shut: look at all again, and tell the other processes."""
        self.examine_all()
        self._spawn(self._share.teach())

    def shut(self, planner: Callable[[Entry, Session], Plan], seconds: float) -> None:
        """Answer all that comes in the next seconds by `planner`, without a request."""
        self._shut = planner
        self.examine_all()
        asyncio.get_running_loop().call_later(seconds, self._unshut)

    def _unshut(self) -> None:
        self._shut = None
