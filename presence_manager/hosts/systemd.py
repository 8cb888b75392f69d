"""What systemd is told, by its notify protocol (sd_notify(3)): one datagram for each message."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping

import structlog

from presence_manager.core.outcome import Progress
from presence_manager.manager.status import Status

log = structlog.get_logger()

AT_A_TIME = 30.0
"""Seconds by which the stop is extended; without progress within them it is extended no more."""
PROGRESS_EVERY = 1.0
"""Seconds between two messages about a sweep."""
_LONGEST_SEND = 1.0


class Systemd:
    """The service manager that started this process; where there is none, nothing is sent.

    Takes its variables out of the environment: a child must not speak for this process.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        patience = environ.pop("WATCHDOG_USEC", "")
        whose = environ.pop("WATCHDOG_PID", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog: float | None = None
        """Seconds within which it wants to hear that we are alive; None: it does not."""
        if address and patience.isdecimal() and whose in ("", str(os.getpid())):
            self.watchdog = int(patience) / 1e6 or None
        self._done = 0
        self._told_at = 0.0

    def tell(self, *assignments: str) -> None:
        """Send one message of such lines as READY=1; that it cannot be sent is only logged."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_LONGEST_SEND)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except (OSError, AttributeError) as error:  # AttributeError: no such sockets here
            log.warning("systemd.not_told", message=assignments[0], error=str(error))

    def ready(self, status: Status) -> None:
        """Say that all is in place, after the start or after a reload."""
        self.tell("READY=1", f"STATUS={in_words(status)}")

    def reloading(self) -> None:
        """Say that settings are read anew; `ready` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def closing(self, progress: Progress | None) -> None:
        """Say that it closes, and then how far the sweep is: more time while that makes progress.

        `progress` is None when the closing begins.
        """
        if progress is None:
            self.tell("STOPPING=1", "STATUS=closing")
            return
        now = time.monotonic()
        if progress.done > self._done and now - self._told_at >= PROGRESS_EVERY:
            self._done, self._told_at = progress.done, now
            self.tell(
                f"EXTEND_TIMEOUT_USEC={AT_A_TIME * 1e6:.0f}",
                f"STATUS=clearing: {progress.done} of {progress.taken} done",
            )

    async def watch(
        self, alive: Callable[[], Awaitable[object]], look: Callable[[], Status]
    ) -> None:
        """Say twice in the watchdog's time that we are alive; at once the first time.

        `alive` returns as long as the parts of this process work: where one hangs, nothing is
        said, and systemd ends the process.
        """
        if self.watchdog is None:
            return
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            await alive()
            status = look()
            words = [f"STATUS={in_words(status)}"] if status.state == "open" else []
            self.tell("WATCHDOG=1", *words)
            at = max(at + self.watchdog / 2, loop.time())
            await asyncio.sleep(at - loop.time())


def in_words(status: Status) -> str:
    """The counts of a manager, in one line."""
    held = sum(lane.held for lane in status.lanes)
    due = sum(lane.due for lane in status.lanes)
    in_flight = sum(lane.in_flight for lane in status.lanes)
    return f"{held} sessions held, {due} renewals due, {in_flight} requests in flight"
