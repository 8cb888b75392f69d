"""Ports whose every await can be made to hang: a disk behind a thread, and a Graph."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Verdict
from tests.engine.virtual import Door, FakeGraph, SharedLedger

DISK = "the disk"
"""The name of the task that stands for the ledger's thread: no orphan of the manager's."""


class Steps:
    """Counts the awaits of the ports once it is armed, and makes one of them hang."""

    def __init__(self, hang_at: int = 0) -> None:
        self.names: list[str] = []
        self.armed = False
        self.hangs = asyncio.Event()
        self._hang_at = hang_at
        self._go_on = asyncio.Event()

    async def step(self, name: str) -> None:
        """One await of a port."""
        if self.armed:
            self.names.append(name)
            if len(self.names) == self._hang_at:
                self.hangs.set()
                await self._go_on.wait()
                return
        await asyncio.sleep(0)

    def go_on(self) -> None:
        """End the hanging, and count no more."""
        self.armed = False
        self._go_on.set()


class Disk:
    """A ledger as a thread works on it: one job after the other, and none of them cancelled."""

    def __init__(self, ledger: SharedLedger, steps: Steps) -> None:
        self._door = Door(ledger)
        self._steps = steps
        self._jobs: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()
        self._thread = asyncio.create_task(self._work(), name=DISK)

    def __getattr__(self, name: str) -> Any:
        now = getattr(self._door, name)
        if not inspect.iscoroutinefunction(now):
            return now

        async def call(*args: Any, **more: Any) -> Any:
            told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

            async def job() -> None:
                await self._steps.step(name)
                try:
                    result, error = await getattr(self._door, name)(*args, **more), None
                except Exception as fault:
                    result, error = None, fault
                await self._steps.step(f"{name}, done")
                if not told.done():
                    told.set_exception(error) if error else told.set_result(result)

            self._jobs.put_nowait(job)
            return await told

        return call

    async def _work(self) -> None:
        while True:
            await (await self._jobs.get())()

    async def end(self) -> None:
        """End the thread that does not exist."""
        self._thread.cancel()
        await asyncio.wait({self._thread})


class SteppedGraph(FakeGraph):
    """The fake Graph, with a step before a request is taken, and one before its answer."""

    steps: Steps

    async def send(
        self, lane: LaneId, asks: Sequence[tuple[Key, Attempt]], timeout: float
    ) -> list[Verdict]:
        assert not self.closed
        await self.steps.step("send")
        verdicts = await super().send(lane, asks, timeout)
        await self.steps.step("send, done")
        return verdicts

    async def close(self) -> None:
        self.closed = True
        await self.steps.step("close graph")
