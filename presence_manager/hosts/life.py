"""A manager's life within a host, the same for a bot, a service and a daemon.

A host learns in one place that it is to stop, and may wait in another: the closing sweep begins
in the first, so that it does not wait for connections that hang, and is over in the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from presence_manager.core.outcome import Progress, Report
from presence_manager.manager import PresenceManager
from presence_manager.settings import Settings

log = structlog.get_logger()

Source = Settings | Callable[[], PresenceManager] | None
"""Where a host gets its manager: settings, or what makes one; None reads `Settings()`."""


def manager_of(source: Source) -> PresenceManager:
    """Make the manager. Raises SettingsError, and whatever a factory of the caller raises."""
    if source is None or isinstance(source, Settings):
        return PresenceManager(source)
    return source()


class Life:
    """Opens the manager on entry; has it closed, in `deadline` seconds, when the block is left.

    `begin_closing` begins earlier. On the way out the block's own exception goes first, one of
    the closing is logged then. To be cancelled while it closes means to hurry. `closing` is told
    when that begins (None), and then how far the sweep is, ten times a second at most. Raises on
    entry what `manager_of` and `PresenceManager.open` raise, on exit LedgerError.
    """

    def __init__(
        self,
        source: Source,
        *,
        deadline: float | None = None,
        closing: Callable[[Progress | None], None] = lambda progress: None,
    ) -> None:
        self.presence = manager_of(source)
        self._deadline = deadline
        self._tell = closing
        self._closing: asyncio.Task[Report | None] | None = None

    async def __aenter__(self) -> Self:
        await self.presence.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._end(self._begin(self._deadline))
        except Exception:
            if error is None:
                raise
            log.exception("close.failed")

    @property
    def ok(self) -> bool:
        """Whether it has closed, and nobody may still be shown because of us."""
        closing, report = self._closing, self.presence.last_report
        whole = closing is not None and closing.done() and not closing.cancelled()
        return whole and report is not None and report.ok

    @property
    def closed(self) -> bool:
        """Whether the closing is over, whatever came of it."""
        return self._closing is not None and self._closing.done()

    async def begin_closing(self) -> None:
        """Begin to close, in a task of its own; harmless if it has begun.

        When this returns, the manager takes no new holds any more (Closed).
        """
        self._begin(self._deadline)
        await asyncio.sleep(0)  # a task begins with the loop's next turn

    def hurry(self) -> None:
        """Stop waiting for Graph: what is left stays in the ledger, for the next start."""
        if self._closing is None:
            self._begin(0.0)
        else:
            self._closing.cancel()

    def _begin(self, deadline: float | None) -> asyncio.Task[Report | None]:
        if self._closing is None:
            self._tell(None)
            close = self.presence.close(deadline=deadline, progress=self._tell)
            self._closing = asyncio.get_running_loop().create_task(close)
        return self._closing

    async def _end(self, closing: asyncio.Task[Report | None]) -> None:
        try:
            await asyncio.wait({closing})
        except asyncio.CancelledError:
            self.hurry()
            await asyncio.wait({closing})
            raise
        if not closing.cancelled():
            closing.result()
