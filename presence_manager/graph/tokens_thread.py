"""Blocking work on daemon threads, which hold up neither the loop nor the process's end.

The loop's default executor will not do: `asyncio.run` waits for its threads, and a request
that hangs would hang the shutdown with it. A daemon thread is left to itself instead.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from presence_manager.graph.tokens_failure import Failure

T = TypeVar("T")


class DaemonThreads:
    """Runs each piece of work on a fresh daemon thread.

    Whoever stops waiting leaves the thread behind; with `limit` of them left behind under one
    name, the next call under that name fails at once, until one of them returns.
    """

    def __init__(self, limit: int = 4) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"DaemonThreads({self._running.total()} running)"

    async def run(self, name: str, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises.

        Raises Failure when too many threads of that name hang, or none can be started.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def deliver(result: T | None, error: Exception | None) -> None:
            if future.done():  # nobody waits any more
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T may be None itself

        def body() -> None:
            result: T | None = None
            failed: Exception | None = None
            try:
                result = work()
            except Exception as error:
                failed = error
            finally:
                self._end(name)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(deliver, result, failed)

        self._begin(name)
        try:
            threading.Thread(target=body, name=f"sign-in {name}", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._end(name)
            future.set_exception(Failure("no thread could be started"))
        return await future

    def _begin(self, name: str) -> None:
        with self._lock:
            if self._running[name] >= self._limit:
                raise Failure(f"{self._limit} earlier requests still hang")
            self._running[name] += 1

    def _end(self, name: str) -> None:
        with self._lock:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]
