"""How a sweep takes its sessions in: as many at a time as the lanes can see to.

What does not fit waits in the ledger, which is the queue: a sweep of millions needs no memory, and
a tenant that is throttled does not hold up the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from math import inf

import structlog

from presence_manager.core.decide import Send
from presence_manager.core.key import LaneId
from presence_manager.core.session import Session, Step
from presence_manager.engine.entry import Rank
from presence_manager.engine.heard import hear, unnamed
from presence_manager.engine.intents import Intents
from presence_manager.engine.lanes import Lanes
from presence_manager.engine.plan import Now
from presence_manager.engine.shield import to_the_end
from presence_manager.engine.sources import Source, chunk_of, pages, window_of
from presence_manager.engine.sweep import Release, Sweep
from presence_manager.engine.unrecorded import PAUSE, Unrecorded
from presence_manager.errors import LedgerError
from presence_manager.ports import Ledger, Scope

log = structlog.get_logger()

REMEMBERED = 100_000
"""Sessions that a source has named which are remembered; of others the ledger knows."""


class Intake:
    """Takes the sessions of one sweep in."""

    def __init__(
        self,
        sweep: Sweep,
        release: Release,
        rank: Rank,
        *,
        lanes: Lanes,
        ledger: Ledger,
        now: Callable[[], Now],
        unrecorded: Unrecorded,
    ) -> None:
        self._sweep = sweep
        self._release = release
        self._rank = rank
        self._lanes = lanes
        self._ledger = ledger
        self._now = now
        self._unrecorded = unrecorded
        self._intents = Intents(release, sweep.id, lanes, unrecorded)
        self._window = window_of(1)
        self._more: dict[LaneId, asyncio.Event] = {}
        self._waiting: set[LaneId] = set()
        self._named: set[int] | None = set()  # by the source, as hashes: few are alike by chance
        self._read = False
        self.refills: set[asyncio.Task[None]] = set()

    async def run(self, sources: Sequence[Source]) -> None:
        """Take in all sources, each of one lane, side by side. Raises LedgerError."""
        self._window = window_of(len(sources))
        tasks = [asyncio.ensure_future(self._drain(source)) for source in sources]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        self._sweep.all_taken = True

    async def run_mixed(self, source: Source) -> None:
        """Take in a source of many lanes; in a chunk they do not mix. Raises LedgerError.

        What a full lane cannot take is left in the ledger, marked with the sweep, and fetched
        from there when there is room.
        """
        seen: set[LaneId] = set()
        async for named in source:
            rows = named if self._are_new(named) else await self._new(named)
            lanes = [(lane, list(run)) for lane, run in groupby(rows, lambda row: row.key.lane)]
            seen.update(lane for lane, _ in lanes)
            self._window = window_of(len(seen))
            fits: list[Session] = []
            left: list[Session] = []
            for lane, run in lanes:
                room = max(0, self._room(lane, len(run)))
                fits += run[:room]
                left += run[room:]
            await to_the_end(self._take(fits))
            await to_the_end(self._take(left, at_once=False))
        self._read = self._sweep.all_taken = True
        for event in self._more.values():
            event.set()

    def _are_new(self, rows: list[Session]) -> bool:
        """Whether the source has surely named none of them before."""
        if self._named is None:
            return False
        names = [hash(row.key) for row in rows]
        fresh = self._named.isdisjoint(names)
        self._named.update(names)
        if len(self._named) > REMEMBERED:  # from here on the ledger is asked
            self._named = None
        return fresh

    async def _new(self, rows: list[Session]) -> list[Session]:
        """Those whom the source has not named before, as far as the ledger can be asked."""
        now = self._now()
        # of what was cleared without the ledger, or given up, only the sweep itself knows surely
        rows = [row for row in rows if row.key not in self._sweep.unfinal]
        if self._unrecorded.is_silent:
            return rows
        try:
            async with asyncio.timeout(self._patience(now)):
                return await unnamed(rows, self._sweep, self._lanes, self._ledger)
        except (LedgerError, TimeoutError):
            return rows

    async def _drain(self, source: Source) -> None:
        async for rows in source:
            if rows:
                await self._lanes[rows[0].key.lane].room(self._window)
                await to_the_end(self._take(rows))

    def _room(self, lane: LaneId, wanted: int) -> int:
        """How many more sessions may be at work in the lane; none past those that wait for it."""
        if self._rank is Rank.RELEASE:  # a lone release or clear goes before all others
            return wanted
        return 0 if lane in self._more else self._window - len(self._lanes[lane])

    async def _take(self, rows: list[Session], *, at_once: bool = True) -> None:
        """Commit that these sessions are to be cleared, and hand them to their lanes.

        Not `at_once`: leave them there, for their lanes to fetch. What was left so before is not
        counted again, and is somebody else's work once it is out of the sweep.
        """
        sweep = self._sweep
        while rows:
            now = self._now()
            deadline = sweep.deadline if now.at <= sweep.deadline else inf
            steps, sends = self._intents.of_all(rows, now, at_once=at_once)
            try:
                lost = await self._put(steps, now)
            except LedgerError as error:
                log.error("ledger.failed", error=str(error))
                if not await self._take_unrecorded(rows, deadline):
                    raise
                return
            again = [
                row
                for index, row in lost.items()
                if sweep.id not in rows[index].sweeps or sweep.id in row.sweeps
            ]
            news = [step.row for step in steps]
            won = [*zip(rows, news, sends, strict=True)]
            if lost:
                won = [each for index, each in enumerate(won) if index not in lost]
            joined = [
                row for row, new, _ in won if sweep.id in new.sweeps and sweep.id not in row.sweeps
            ]
            sweep.taken += len(joined)
            sweep.strangers += sum(not row.version for row in joined)
            for (lane, send), run in groupby(won, _lane_and_send):
                if at_once:
                    work = [new for _, new, _ in run]
                    self._lanes[lane].submit_all(work, self._rank, deadline, send)
                else:
                    self._fetch(lane)
            rows = again

    async def _put(self, steps: list[Step], now: Now) -> Mapping[int, Session]:
        """Commit within a third of the time there is: a clear can do without. Raises LedgerError.

        What is written after we have given up says that the sessions are being cleared: they are.
        """
        if self._unrecorded.is_silent:
            raise LedgerError("the ledger has failed just now: nothing was saved")
        patience = self._patience(now)
        time = asyncio.get_running_loop().time
        began = time()
        putting = asyncio.ensure_future(self._ledger.put(steps))
        try:
            async with asyncio.timeout(patience):
                return await asyncio.shield(putting)
        except LedgerError:
            self._unrecorded.failed_for(time() - began)
            raise
        except TimeoutError:
            self._unrecorded.failed_for(time() - began)
            raise LedgerError(
                f"the ledger has not answered for {patience:.1f} s: whether this was saved is not "
                "known"
            ) from None
        finally:
            if not putting.done():
                putting.add_done_callback(partial(self._put_late, steps))

    def _patience(self, now: Now) -> float | None:
        """Seconds to wait for the ledger: a third of what there is; None without a deadline."""
        left = (self._sweep.deadline - now.at) / 3
        return left if 0 < left < inf else None

    def _put_late(self, steps: list[Step], putting: asyncio.Future[Mapping[int, Session]]) -> None:
        """See to what was written after we had given up, where nobody has seen to it meanwhile."""
        if putting.cancelled() or putting.exception() is not None:
            return
        lost = putting.result()
        for index, (_, row, *_) in enumerate(steps):
            lane = self._lanes[row.key.lane]
            seen_to = lane.has(row.key) or row.key in self._unrecorded.owed
            if index not in lost and not seen_to:
                lane.submit(row, self._rank)

    async def _take_unrecorded(self, rows: list[Session], deadline: float) -> bool:
        """Clear them without the ledger, as far as that may be; whether any of them may."""
        sweep, books = self._sweep, self._unrecorded
        rows = await books.known(rows)
        now = self._now()
        everyone = now.at if self._release.everyone else 0.0
        staked = [(row, *self._intents.of(row, now)) for row in rows]
        leaving = [books.may_leave(row, planned.row, now) for row, planned, _ in staked]
        if not any(leaving):
            return False
        for (row, planned, send), leaves in zip(staked, leaving, strict=True):
            if sweep.id not in row.sweeps:
                sweep.taken += 1
                sweep.strangers += not row.version
            if leaves:
                new = books.owe(row, planned.row, all_until=everyone)
                self._lanes[row.key.lane].submit_unrecorded(new, self._rank, deadline, send)
            elif sweep.id not in row.sweeps:
                sweep.became([books.left(row, sweep.id, now)])
        return True

    def _fetch(self, lane: LaneId) -> None:
        """Let the lane fetch what waits for it."""
        if lane not in self._more:
            self._more[lane] = asyncio.Event()
            self._waiting.add(lane)
            task = asyncio.get_running_loop().create_task(self._refill(lane))
            self.refills.add(task)
            task.add_done_callback(self.refills.discard)
        self._more[lane].set()

    async def _refill(self, lane_id: LaneId) -> None:
        """Fetch from the ledger what was left there, until all was read and nothing is left.

        It goes on after the deadline, in the background.
        """
        lane, more = self._lanes[lane_id], self._more[lane_id]
        scope = Scope(
            origin=lane_id.origin, app=lane_id.app, tenant=lane_id.tenant, sweep=self._sweep.id
        )
        found = True
        while found or not self._read:
            if not found:
                await more.wait()
            more.clear()
            found = False
            try:
                async for rows in pages(self._ledger, scope, limit=chunk_of(self._window)):
                    left = [row for row in rows if self._is_left(row)]
                    if left:
                        found = True
                        await lane.room(self._window)
                        await to_the_end(self._take(left))
            except LedgerError as error:
                log.error("ledger.failed", error=str(error))
                found = True
                await asyncio.sleep(PAUSE)
        self._waiting.discard(lane_id)
        if not self._waiting:
            await hear(self._sweep, self._lanes, self._ledger, lane_id)

    def _is_left(self, row: Session) -> bool:
        """Whether nobody here is at work on the row, nor has given it up."""
        key = row.key
        return not self._lanes[key.lane].has(key) and key not in self._sweep.unfinal


def _lane_and_send(work: tuple[Session, Session, Send | None]) -> tuple[LaneId, Send | None]:
    return work[0].key.lane, work[2]
