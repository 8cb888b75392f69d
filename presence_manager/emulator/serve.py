"""Serving until told to stop, for a command line or any other host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .emulator import Emulator


async def run(
    *,
    ready: Callable[[Emulator], None] | None = None,
    stop: Awaitable[object],
    **options: Any,
) -> None:
    """Serve until ``stop`` is done; ``options`` are `Emulator`'s. Signals are the caller's."""
    async with Emulator(**options) as emulator:
        if ready is not None:
            ready(emulator)
        await stop
