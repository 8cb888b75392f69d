"""The SQLite ledger of one process, with a writer that works in turn, is slow, fails, and dies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from presence_manager.core.session import Session, Step
from presence_manager.errors import LedgerError
from presence_manager.ledger import puts
from presence_manager.ledger.checks import check_steps
from presence_manager.ledger.database import Database
from presence_manager.ledger.sqlite import SqliteLedger
from presence_manager.ledger.writer import InlineWriter

PATIENCE = 5.0
"""Seconds that `stop` waits for the queue, as the thread's writer does."""

Trouble = Callable[[], tuple[float, bool]]
"""How slow the disk is now, in seconds, and whether it fails."""


class SimWriter(InlineWriter):
    """One job after the other, as a thread would; a cancelled caller does not stop its job."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self._trouble = trouble
        self._jobs: deque[tuple[Any, bool, asyncio.Future[Any]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self.dead = False

    async def start(self, opener: Callable[[], Database]) -> None:
        await super().start(opener)
        assert self._database is not None
        self._database.connection.execute("PRAGMA synchronous=OFF")  # no machine dies here

    async def run(self, work: Callable[[Database], Any], *, writes: bool) -> Any:
        if self.dead:
            raise asyncio.CancelledError
        slow, fails = self._trouble()
        if not (slow or fails or self._jobs or self._worker):
            return await super().run(work, writes=writes)
        future = asyncio.get_running_loop().create_future()
        self._jobs.append((work, writes, future))
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Half of the time passes before a job is durable, half before its caller is told."""
        while self._jobs:
            work, writes, future = self._jobs.popleft()
            slow, fails = self._trouble()
            error: Exception | None = None
            result = None
            await asyncio.sleep(slow / 2)
            if fails:
                error = LedgerError("the disk failed: nothing of this call was saved")
            else:
                try:
                    result = await super().run(work, writes=writes)
                except Exception as raised:
                    error = raised
            await asyncio.sleep(slow / 2)
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
        self._worker = None

    async def stop(self, last: Callable[[], None]) -> None:
        try:
            if self._worker is not None:
                await asyncio.wait({self._worker}, timeout=PATIENCE)
        finally:  # a thread comes to its end, too, when nobody waits for it any more
            if self._worker is not None:
                self._worker.cancel()
                for _, _, future in self._jobs:
                    if not future.done():
                        future.set_exception(LedgerError("the ledger was closed"))
            await super().stop(last)

    def die(self) -> None:
        """What waits is lost; what was durable stays."""
        self.dead = True
        self._jobs.clear()
        if self._worker is not None:
            self._worker.cancel()
        if self._database is not None:
            self._database.close()
            self._database = None


Seen = Callable[[Sequence[Step], Mapping[int, Session]], None]


class SimLedger(SqliteLedger):
    """Tells the judge of every commit at the instant at which it is durable."""

    def __init__(self, path: Any, trouble: Trouble, seen: Seen) -> None:
        self.sim_writer = SimWriter(trouble)
        super().__init__(path, writer=self.sim_writer)
        self._seen = seen

    async def put(self, steps: Sequence[Step]) -> Mapping[int, Session]:
        steps = list(steps)
        check_steps(steps)

        def work(db: Database) -> Mapping[int, Session]:
            lost = puts.put(db, steps)
            self._seen(steps, lost)
            return lost

        return await self._run(work, writes=True)

    async def mark(self, owner: str, *, on: bool) -> None:
        """At once, whatever the disk does: it takes no room there, and no lock."""
        if self.sim_writer.dead:
            raise asyncio.CancelledError
        self._locks().mark(owner, on=on)

    def die(self) -> None:
        """The process ends: the kernel lets go of its lock, its files stay."""
        self.sim_writer.die()
        if self._owners is not None:
            self._owners.drop_inherited()
