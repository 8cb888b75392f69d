"""Who works on the database: one daemon thread, or the caller itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from presence_manager.errors import LedgerError
from presence_manager.ledger.database import Database, Job

T = TypeVar("T")

_TOGETHER = 1000  # jobs in one transaction: what the first of them waits for the last


class Writer(Protocol):
    """Runs jobs on a database, each durable when its caller is told.

    `start` opens the database, `stop` runs what was asked before and closes it. A cancelled
    caller does not stop its job.
    """

    async def start(self, opener: Callable[[], Database]) -> None:
        """Open the database with `opener`; what it raises is raised."""
        ...

    async def run(self, work: Callable[[Database], T], *, writes: bool) -> T:
        """Do the work in a transaction and return its result, or raise its error."""
        ...

    async def stop(self, last: Callable[[], None]) -> None:
        """End: do `last` after all other work, and close the database."""
        ...


class InlineWriter:
    """Runs each job at once on the calling thread: for a simulator, where order is everything."""

    def __init__(self) -> None:
        self._database: Database | None = None

    async def start(self, opener: Callable[[], Database]) -> None:
        """Open the database."""
        self._database = opener()

    async def run(self, work: Callable[[Database], T], *, writes: bool) -> T:
        """Do the work in a transaction of its own."""
        assert self._database is not None
        job = Job(work, writes=writes)
        self._database.run([job])
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]

    async def stop(self, last: Callable[[], None]) -> None:
        """Close the database."""
        if self._database is not None:
            last()
            self._database.close()
            self._database = None


class _Call(Job):
    """A job whose caller waits on an event loop."""

    __slots__ = ("future", "loop")

    def __init__(self, work: Callable[[Database], Any], *, writes: bool) -> None:
        super().__init__(work, writes=writes)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def settle(self) -> None:
        """Tell the caller, if it still waits; runs on its loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class _LastCall(_Call):
    """The end of the queue; its work is done outside of any transaction."""

    __slots__ = ()


class ThreadWriter:
    """Runs jobs on a daemon thread; all that wait at the same time share one commit.

    A disk that hangs holds up neither the event loop nor the end of the process. `stop` waits
    `patience` seconds at most; whoever is waiting then gets a LedgerError.
    """

    def __init__(self, patience: float = 5.0) -> None:
        self._patience = patience
        self._queue: SimpleQueue[_Call] | None = None
        self._waiting: set[asyncio.Future[Any]] = set()

    async def start(self, opener: Callable[[], Database]) -> None:
        """Start the thread, which opens the database first."""
        started = _Call(_nothing, writes=False)
        queue: SimpleQueue[_Call] = SimpleQueue()
        threading.Thread(
            target=_main, args=(queue, opener, started), name="presence-ledger", daemon=True
        ).start()
        try:
            await started.future
        except asyncio.CancelledError:
            queue.put(_LastCall(_nothing, writes=False))  # the thread closes what it opens
            raise
        self._queue = queue

    async def run(self, work: Callable[[Database], T], *, writes: bool) -> T:
        """Queue the work; return when the commit that it shares with others is durable."""
        assert self._queue is not None
        call = _Call(work, writes=writes)
        self._waiting.add(call.future)
        try:
            self._queue.put(call)
            return await call.future  # type: ignore[no-any-return]
        finally:
            self._waiting.discard(call.future)

    async def stop(self, last: Callable[[], None]) -> None:
        """End the thread when its queue is done."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        ended = _LastCall(lambda _: last(), writes=False)
        queue.put(ended)
        await asyncio.wait([ended.future], timeout=self._patience)
        for future in self._waiting:
            if not future.done():
                future.set_exception(
                    LedgerError(
                        "the ledger was closed while the disk did not answer: whether this call "
                        "was saved is not known. The next start will see."
                    )
                )


def _nothing(_: Database) -> None:
    pass


def _main(queue: SimpleQueue[_Call], opener: Callable[[], Database], started: _Call) -> None:
    try:
        database = opener()
    except Exception as error:
        started.error = error
        _deliver([started])
        return
    _deliver([started])
    last = None
    while last is None:
        calls, last = _take(queue)
        database.run(calls)
        _deliver(calls)
        del calls  # while the thread waits it must not keep what was written alive
    try:
        last.work(database)
        database.close()
    finally:
        _deliver([last])


def _take(queue: SimpleQueue[_Call]) -> tuple[list[_Call], _LastCall | None]:
    calls: list[_Call] = []
    call = queue.get()
    while not isinstance(call, _LastCall):
        calls.append(call)
        if len(calls) == _TOGETHER:
            return calls, None
        try:
            call = queue.get_nowait()
        except Empty:
            return calls, None
    return calls, call


def _deliver(calls: Sequence[_Call]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[_Call]] = {}
    for call in calls:
        loops.setdefault(call.loop, []).append(call)
    for loop, settled in loops.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, settled)


def _settle(calls: Sequence[_Call]) -> None:
    for call in calls:
        call.settle()
