"""A lane: all that waits for Graph on behalf of one application in one tenant.

A lane queues sessions, not requests: what is asked is decided when it leaves, so that a hold and
its release that meet in the queue cancel out, and no request ever carries a session twice. What
arrives while all slots are taken waits, and leaves together.

Everything here runs on the event loop: the desk decides, in one short step, and the lane starts
tasks that do. An entry is `busy` from then until the books have told what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import inf

import structlog

from presence_manager.core.decide import Rest, Send, Wait
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Outcome
from presence_manager.core.session import Session
from presence_manager.core.verdict import Verdict
from presence_manager.engine.books import Audience, Books
from presence_manager.engine.bundle import FULL_BATCH, Bundle
from presence_manager.engine.desk import Desk
from presence_manager.engine.entry import Entry, Rank
from presence_manager.engine.plan import Now
from presence_manager.engine.request import Request
from presence_manager.engine.retry import LaneTerms
from presence_manager.engine.share import LaneShare
from presence_manager.engine.tasks import Tasks
from presence_manager.engine.unrecorded import Unrecorded
from presence_manager.gate.budget import GateTerms
from presence_manager.gate.gate import Gate
from presence_manager.gate.width import Width
from presence_manager.ports import Clock, Graph, Ledger

UNSENT = 10_000  # attempts that never left, remembered at most; without that one is committed anew
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
        unrecorded: Unrecorded,
    ) -> None:
        self.id = lane
        self.moment = now
        self.graph = graph
        self.clock = clock
        self.gate = gate
        self.how = how
        self.batching = how.batching
        self.stopping = False
        self.desk = Desk(gate, self._wake)
        self._number = 1  # of the next attempt
        self.unsent: set[int] = set()  # what a row says may be old: an attempt leaves once
        self._tasks = Tasks(lane.tenant)
        self._in_flight = 0
        self.width = Width(how.width)
        self._share = LaneShare(
            lane, now().owner, ledger=ledger, clock=clock, gate=gate, unrecorded=unrecorded
        )
        self._room = asyncio.Event()
        self._roomy = 0
        self._pump_due = False
        self.books = Books(
            ledger=ledger,
            moment=now,
            audience=audience,
            unrecorded=unrecorded,
            spawn=self._tasks.spawn,
            go_on=self._go_on,
            wake=self._wake,
            log=structlog.get_logger().bind(tenant=lane.tenant),
        )

    def __repr__(self) -> str:
        desk = self.desk
        return (
            f"<Lane {self.id.tenant}: {len(desk.queue)} queued, {len(desk.later)} waiting, "
            f"{self._in_flight} requests in flight, {self.gate!r}>"
        )

    # -- from above -------------------------------------------------------------------------

    def submit(
        self, row: Session, rank: Rank, deadline: float = inf, send: Send | None = None
    ) -> None:
        """See to this session: `row` is what the ledger has of it now."""
        settles = row.sets_settle or row.clears_settle
        self.submit_all([self.moment().adopt(row) if settles else row], rank, deadline, send)

    def submit_all(
        self, rows: Sequence[Session], rank: Rank, deadline: float, send: Send | None
    ) -> None:
        """The same for many, as this process reads them.

        `send` is what is to be done about each, if that has been decided already.
        """
        self.desk.put(rows, rank, deadline, send, self.clock.now(), batching=self.batching)
        self._wake()

    def submit_unrecorded(
        self, row: Session, rank: Rank, deadline: float, send: Send | None
    ) -> None:
        """The same for a row that the ledger could not be told of; it takes any other's place."""
        entry = self.desk.entry(row.key)
        if entry is not None:
            entry.see(row)
        self.submit(row, rank, deadline, send)

    def unrecorded(self, key: Key) -> Session | None:
        """The row of a session that is at work without the ledger."""
        row = self.desk.row(key)
        return row if row is not None and row.version < 0 else None

    def __len__(self) -> int:
        """How many sessions are at work."""
        return len(self.desk)

    @property
    def in_flight(self) -> int:
        """How many HTTP requests are under way."""
        return self._in_flight

    def has(self, key: Key, sweep_id: str = "") -> bool:
        """Whether the session is at work, for that sweep if one is given."""
        row = self.desk.row(key)
        return row is not None and (not sweep_id or sweep_id in row.sweeps)

    async def room(self, window: int) -> None:
        """Wait until fewer than `window` sessions are at work here."""
        while len(self.desk) >= window:
            self._roomy = window // 2
            self._room.clear()
            await self._room.wait()

    def trouble(self, key: Key) -> Verdict | None:
        """The last verdict on a session that is still at work."""
        return self.desk.verdict(key)

    def change(self, terms: GateTerms) -> None:
        """Go on with another budget."""
        self.gate.change(terms)
        self._wake()

    def numbers(self, count: int) -> range:
        """Numbers for so many attempts, unique in this process's life."""
        first, self._number = self._number, self._number + count
        fresh = range(first, first + count)
        self.unsent.update(fresh)
        return fresh

    async def cut(self, sweep_id: str) -> None:
        """The deadline of a sweep is over: what it still waits for is unfinished.

        Unless the lane is stopped, the work itself goes on in the background.
        """
        entries = self.desk.entries(sweep_id)
        now = self.clock.now()
        for entry in entries:
            entry.deadline = min(entry.deadline, now)
        await self._give_up(entries, 0.5)

    async def stop(self) -> None:
        """Send nothing more; end what is in flight, and write down that it was cut off."""
        self.stopping = self.books.stopping = True
        self.desk.later.stop()
        for _ in range(2):  # the second time for what the first has set free
            await self._give_up(self.desk.entries(), 0.0)
            await self._tasks.ended()
        self._room.set()
        await self._share.settle()

    def count(self, sweep_id: str) -> int:
        """How many sessions are at work for the sweep."""
        rows = (row for item in self.desk.items() for row in item.rows)
        return sum(sweep_id in row.sweeps for row in rows)

    async def _give_up(self, entries: list[Entry], seconds: float) -> None:
        """Leave these for later: at once what is idle, what is in flight within `seconds`."""
        now = self.moment()
        idle: list[Entry] = []
        for entry in entries:
            if entry.busy:
                entry.shorten(seconds)
            else:
                self.desk.take(entry)
                if not entry.unwritten:  # else once more: it has left
                    entry.planner = self.desk.surrender(entry, now)
                idle.append(entry)
        await self.books.apply(idle)

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
        work, stale = self.desk.look(now)
        work += self.desk.hopeless(now)
        if work:
            self._tasks.spawn(self.books.apply(work))
        if stale:
            self._tasks.spawn(self.books.reread(stale))
        silent = self.width.silent_until
        while self._in_flight < self.width.now and now.at >= silent:
            most = FULL_BATCH if self.batching else 1
            chunk = self.desk.chunk(now.at, min(self.gate.free(now.at), most))
            if not chunk:
                break
            self.gate.leave(len(chunk))
            self._in_flight += 1
            self._tasks.spawn(self._fly(chunk))
        due = self._share.due(len(self.desk.queue), self._wake, idle=not self.desk)
        if due is not None:
            self._tasks.spawn(due)
        at = inf
        if self.desk.queue and not self._share.drawing and self._in_flight < self.width.now:
            free = now.at < silent and self.gate.free(now.at)
            at = silent if free else max(silent, self.gate.next_free(now.at))
        self.desk.later.arm(now.at, at)

    # -- the tasks: do ----------------------------------------------------------------------

    async def _fly(self, chunk: Bundle | list[Entry]) -> None:
        """Make one request; while what came of it is committed, the next may leave."""
        request = Request(self, chunk)
        try:
            await request.run()
        finally:
            self._in_flight -= 1
            self._wake()
        await request.record()

    def _go_on(self, entries: list[Entry]) -> None:
        """What the commits of their plans leave to do."""
        rested: list[tuple[Entry, float]] = []
        for entry in entries:
            row, action, _, _ = entry.plan
            unrecorded = entry.row.version < 0 <= row.version  # while others were committed
            if isinstance(action, Send) or unrecorded or entry.row.version > row.version:
                self.desk.look_again(entry)
            elif isinstance(action, Wait):
                self._wait(entry, action.at)
            else:
                rested.append((entry, action.at if isinstance(action, Rest) else inf))
        if rested:
            self._remove([entry.key for entry, _ in rested])
            self.books.rested(rested)

    def end(self, bundle: Bundle, outcomes: list[Outcome]) -> None:
        """All of the bundle are gone, and the ledger knows."""
        self._remove([row.key for row in bundle.rows])
        self.books.ended(bundle.rows, outcomes)
        self._wake()

    def _remove(self, keys: Iterable[Key]) -> None:
        self.desk.remove(keys)
        if not self.desk and len(self.unsent) > UNSENT:
            self.unsent.clear()
        if len(self.desk) <= self._roomy:
            self._room.set()

    def _wait(self, entry: Entry, at: float) -> None:
        entry.stale = entry.plan.row.attempt is not None  # another process is busy with it
        if entry.stale:
            at = self.clock.now() + FOREIGN_POLL
        if entry.deadline < at:
            self.desk.take(entry)
            entry.planner = self.desk.surrender(entry, self.moment())
            self._tasks.spawn(self.books.apply([entry]))
        else:
            self.desk.later.put(entry, at)

    def throttled(self) -> None:
        """The door has been shut: look at all again, and tell others."""
        self.desk.look_at_all()
        self._tasks.spawn(self._share.teach())
