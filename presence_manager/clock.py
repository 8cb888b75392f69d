"""The time of day, read once and carried on by the monotonic clock."""

from __future__ import annotations

import time


class SystemClock:
    """A clock that starts at the machine's time of day and never jumps.

    Somebody who sets the machine's clock while the process runs changes nothing here; after a
    restart the ledger does not trust what another process's clock has written (see `decide`).
    """

    def __init__(self) -> None:
        self._start = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._start + time.monotonic()
