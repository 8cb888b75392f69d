"""Names to addresses, in daemon threads.

The threads of asyncio's own executor are waited for at the end of the process, so a resolver that
hangs would hold it up; and aiohttp looks names up there.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class Resolver(AbstractResolver):
    """Looks names up in daemon threads."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raise OSError where there are none."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()

        def tell(found: list[Any], error: OSError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)

        def look() -> None:
            found: list[Any] = []
            error = None
            try:
                found = socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
                )
            except (OSError, UnicodeError) as problem:
                error = problem if isinstance(problem, OSError) else OSError(None, str(problem))
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(tell, found, error)

        threading.Thread(target=look, name="presence-manager-dns", daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=socket.getnameinfo(address, socket.NI_NUMERICHOST)[0]
                if len(address) > 2 and address[3]
                else address[0],
                port=port,
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, address in await future
        ]

    async def close(self) -> None:
        """Nothing to let go of: a thread that still looks ends by itself."""
