"""A web server that does as it is told, well or badly: raw sockets, one script per request.

A script is an async function of (request, connection); it writes what it likes, when it likes. The
scripts are used up in order; the last one stays.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass


@dataclass
class Seen:
    """One request, as it stood on the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    def json(self) -> object:
        return json.loads(self.body)


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Seen, Connection], Awaitable[None]]


def answer(
    status: int = 200,
    body: bytes | str | dict | list = b"",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
) -> Script:
    """Answer properly."""
    return raw(packed(status, body, headers))


def packed(
    status: int = 200,
    body: bytes | str | dict | list = b"",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    length: int | None = None,
) -> bytes:
    if isinstance(body, dict | list):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{key}: {value}" for key, value in pairs)]
    if not any(key.lower() == "transfer-encoding" for key, _ in pairs):
        lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def raw(data: bytes, then: str = "") -> Script:
    """Write these bytes; then keep the connection, `close` or `reset` it."""

    async def script(seen: Seen, connection: Connection) -> None:
        await connection.write(data)
        if then:
            getattr(connection, then)()

    return script


async def reset(seen: Seen, connection: Connection) -> None:
    connection.reset()


async def close(seen: Seen, connection: Connection) -> None:
    connection.close()


async def hang(seen: Seen, connection: Connection) -> None:
    await asyncio.get_running_loop().create_future()


def batch(*items: dict, status: int = 200, headers: dict[str, str] | None = None) -> Script:
    """Answer a batch with these items."""
    return answer(status, {"responses": list(items)}, headers)


async def all_done(seen: Seen, connection: Connection) -> None:
    """Say 200 to everything, alone or in a batch."""
    if not seen.path.endswith("$batch"):
        await connection.write(packed())
        return
    items = [{"id": item["id"], "status": 200} for item in seen.json()["requests"]]
    await connection.write(packed(body={"responses": items[::-1]}))


class Server:
    """`async with Server(script, ...) as server` listens on a free port of this machine."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.scripts = list(scripts) or [all_done]
        self.tls = tls
        self.seen: list[Seen] = []
        self.connections = 0
        self._tasks: set[asyncio.Task] = set()
        self.arrived = asyncio.Event()

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self.tls, limit=1 << 22
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = Connection(reader, writer, self.connections)
        try:
            while (seen := await self._read(connection)) is not None:
                self.seen.append(seen)
                self.arrived.set()
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                await script(seen, connection)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _read(self, connection: Connection) -> Seen | None:
        try:
            head = await connection.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return None
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = [tuple(text.split(": ", 1)) for text in rest if text]
        seen = Seen(line, headers, b"", connection.number)  # type: ignore[arg-type]
        length = int(seen.header("content-length") or 0)
        seen.body = await connection.reader.readexactly(length)
        return seen
