"""Raw sockets and ready-made batches: what this machine and the server can do at most."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.contenders.floor import bodies, read_batch
from benchmarks.contenders.job import Job, main
from benchmarks.graph.ids import TOKEN


class _Line(asyncio.Protocol):
    """One connection: sends the next ready body as soon as an answer is whole."""

    def __init__(self, work: list[bytes], done: asyncio.Future[None], answers: list[bytes]) -> None:
        self._work, self._done, self._answers = work, done, answers
        self._bytes = b""
        self._transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._work:
            self._transport.write(self._work.pop())
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        end = self._bytes.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._bytes.find(b"Content-Length: ") + 16
        start = end + 4
        stop = start + int(self._bytes[at : self._bytes.find(b"\r\n", at)])
        if len(self._bytes) >= stop:
            self._answers.append(self._bytes[start:stop])
            self._bytes = b""
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def clear(job: Job) -> dict[str, str]:
    """Clear all users, four batches in flight."""
    host, port = job.url.removeprefix("http://").split(":")
    ready = []
    for body in bodies(job.users):
        head = (
            f"POST /v1.0/$batch HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        ready.append(head.encode() + body)
    answers: list[bytes] = []
    loop = asyncio.get_running_loop()
    lines = [loop.create_future() for _ in range(4)]
    job.start()
    for line in lines:
        await loop.create_connection(lambda line=line: _Line(ready, line, answers), host, int(port))
    await asyncio.gather(*lines)
    job.stop()
    found: dict[str, str] = {}
    for answer in answers:
        read_batch(answer, found)
    return found


if __name__ == "__main__":
    main(clear)
