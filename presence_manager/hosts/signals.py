"""The signals by which a process is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from typing import Any

STOPPING = tuple(
    number
    for name in ("SIGTERM", "SIGINT", "SIGBREAK")  # SIGBREAK: Windows, Ctrl-Break
    if (number := getattr(signal, name, None)) is not None
)


class Signals:
    """Hears SIGTERM, SIGINT and SIGBREAK within a block: the first means stop, the second hurry.

    After the second, and after the block, the handlers that were there before are back, so that
    a third signal ends the process where it stands. A signal that the parent told us to ignore
    (nohup, a shell's background job) stays ignored. Python hears signals in the main thread only;
    RuntimeError elsewhere.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if current_thread() is not main_thread():
            raise RuntimeError("signals reach the main thread only: give stop= in any other")
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            before = signal.getsignal(number)
            if before in (signal.SIG_IGN, None):
                continue
            self._before[number] = before
            try:
                loop.add_signal_handler(number, self._hear)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._hear))
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _hear(self) -> None:
        if self.asked.is_set():
            self.hurried.set()
            self._restore()
        self.asked.set()

    def _restore(self) -> None:
        loop = asyncio.get_running_loop()
        before, self._before = self._before, {}
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextmanager
def on_hangup(ask: Callable[[], None]) -> Iterator[None]:
    """Let SIGHUP call `ask` on the loop within the block; one that is ignored stays so (nohup).

    Where there is no such signal (Windows) nothing is done.
    """
    number = getattr(signal, "SIGHUP", None)
    before = None if number is None else signal.getsignal(number)
    if number is None or before in (signal.SIG_IGN, None):
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, ask)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
        signal.signal(number, before)
