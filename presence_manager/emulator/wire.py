"""Writing an answer onto the wire, whole or spoiled. Nothing here knows what Graph means."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import web

from .faults import Fault

_PIECES = 20
_GARBAGE = b"\x00\x1f<not json>{]"
_MISSING = 64
"""Bytes that a cut body promises beyond what it has."""


class Reply(NamedTuple):
    """One HTTP answer; headers without those that frame it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def response_of(reply: Reply) -> web.Response:
    """Return the reply as aiohttp sends it."""
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def deliver(
    request: web.BaseRequest, reply: Reply, fault: Fault, closing: asyncio.Event
) -> tuple[web.StreamResponse, bool]:
    """Send a reply under a fault; return what to hand to aiohttp, and if a whole answer was sent.

    After a connection was taken away aiohttp finds it closing and drops the response unsent.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return response_of(reply), False
    match fault.effect:
        case "reset" | "late":
            _reset(transport)
            return response_of(reply), False
        case "hang":
            try:
                await asyncio.wait_for(closing.wait(), fault.seconds)
            except TimeoutError:
                return response_of(reply), not transport.is_closing()
            _reset(transport)
            return response_of(reply), False
        case "slow":
            # What was written past aiohttp's back ends the connection, and says so.
            whole = reply._replace(headers={**reply.headers, "Connection": "close"})
            sent = await _drip(transport, _raw(whole, len(whole.body)), fault.seconds or 0.0)
            transport.close()
            return response_of(reply), sent
        case "cut":
            _cut(transport, reply, chunked=fault.chunked)
            return response_of(reply), False
        case "stale":
            response = response_of(reply)
            await response.prepare(request)
            await response.write_eof()
            transport.close()
            return response, True
        case "garbage":
            return response_of(Reply(200, reply.headers, _GARBAGE)), True
        case _:
            return response_of(reply), True


def _reset(transport: asyncio.Transport) -> None:
    """Abort the connection so that the peer sees a reset and not an orderly end."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _cut(transport: asyncio.Transport, reply: Reply, *, chunked: bool) -> None:
    body = reply.body or b'{"@odata'
    half = body[: max(1, len(body) // 2)]
    if chunked:
        head = _raw(reply._replace(body=b""), None)
        transport.write(head + b"%x\r\n%b\r\n" % (len(half), half))
    else:
        transport.write(_raw(reply._replace(body=half), len(body) + _MISSING))
    transport.close()


def _raw(reply: Reply, length: int | None) -> bytes:
    """Return the bytes of a reply that declares ``length`` bytes, or chunks where it is None."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", framing]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + reply.body


async def _drip(transport: asyncio.Transport, data: bytes, seconds: float) -> bool:
    size = -(-len(data) // _PIECES)
    for start in range(0, len(data), size):
        if start:
            await asyncio.sleep(seconds / _PIECES)
        if transport.is_closing():
            return False
        transport.write(data[start : start + size])
    return True
