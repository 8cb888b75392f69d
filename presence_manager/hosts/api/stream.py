"""An answer that is sent piece by piece, to a client that may be slow, or gone."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

log = structlog.get_logger()

PATIENCE = 20.0
"""Seconds within which a client takes what it is sent."""


class Stream:
    """Sends an answer within a block; a client that is gone, or too slow, ends the block quietly.

    So does a fault, which is logged: what has been sent cannot be taken back.
    """

    def __init__(self, request: web.Request, media_type: str) -> None:
        self._request = request
        self.response = web.StreamResponse(
            headers={"Content-Type": media_type, "Cache-Control": "no-store"}
        )

    async def __aenter__(self) -> Self:
        await self.response.prepare(self._request)
        return self

    async def write(self, data: bytes) -> None:
        """Send a piece. Raises ConnectionError, or TimeoutError for a client that is too slow."""
        if self._request.transport is None:
            raise ConnectionResetError
        async with asyncio.timeout(PATIENCE):
            await self.response.write(data)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.response.write_eof()
            except (ConnectionError, TimeoutError) as late:
                error = late
        if error is not None and self._request.transport is not None:
            self._request.transport.abort()  # a half answer must not look like a whole one
        if isinstance(error, Exception) and not isinstance(error, ConnectionError | TimeoutError):
            log.error("http.stream_cut", path=self._request.path, exc_info=error)
        return isinstance(error, Exception)
