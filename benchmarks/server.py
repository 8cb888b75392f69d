"""Graph's presence API as a process of its own, made for speed.

    python -m benchmarks.server --port 0

prints its address as the first line, and serves until it is ended or its standard input closes.

    POST /{v1.0|beta}/users/{id}/presence/{setPresence|clearPresence}
    POST /{v1.0|beta}/$batch
    POST /control/configure   a Plan, as JSON: begins a new run, everything is forgotten
    POST /control/sessions    {"users": n, "tenants": 1}: each gets a session
    GET  /control/counters
    GET  /control/truth       the counters, and what happened to each user
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import struct
import sys
import time
from typing import Any

from benchmarks.graph.answers import ERRORS, Writer, item, loads, quoted
from benchmarks.graph.http import Malformed, Reader, Request
from benchmarks.graph.world import Entry, Plan, World

BATCHES = {f"/{version}/{name}" for version in ("v1.0", "beta") for name in ("$batch", "%24batch")}
VERSIONS = {"v1.0", "beta"}
BATCH_MAX = 20
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close that resets

Reply = tuple[int, str, int, list[Entry]]
"""Status, body, Retry-After, and the entries that are delivered with it."""


class Server:
    """The present run, and what to answer."""

    def __init__(self) -> None:
        self.world = World(Plan())
        self.writer = Writer()

    def reply(self, request: Request, now: float) -> Reply:
        """Carry out a request to Graph."""
        if not request.authorized:
            return 401, ERRORS[401], 0, []
        if request.method != "POST":
            return 405, ERRORS[405], 0, []
        try:
            body = loads(request.body) if request.body else None
            if request.target in BATCHES:
                return self._batch(body["requests"], now)
        except (ValueError, KeyError, TypeError, AttributeError):
            return 400, ERRORS[400], 0, []
        parts = request.target.split("/")
        if len(parts) != 6 or parts[1] not in VERSIONS or parts[2] != "users":
            return 404, ERRORS[404], 0, []
        status, wait, entry = self.world.act(parts[3], parts[5], body, now)
        return status, "" if status == 200 else ERRORS[status], wait, [entry]

    def _batch(self, items: list[dict[str, Any]], now: float) -> Reply:
        if not 1 <= len(items) <= BATCH_MAX:
            return 400, ERRORS[400], 0, []
        answers, entries = [], []
        act = self.world.act
        for each in items:
            parts = each["url"].split("/")
            if each["method"] != "POST" or len(parts) < 4:
                answers.append(item(each["id"], 404, 0))
                continue
            status, wait, entry = act(parts[-3], parts[-1], each.get("body"), now)
            answers.append(item(each["id"], status, wait))
            entries.append(entry)
        if self.world.plan.shuffle:
            self.world.order.shuffle(answers)
        return 200, '{"responses":[' + ",".join(answers) + "]}", 0, entries

    def control(self, request: Request) -> str:
        """Carry out a request of the benchmark's own; raise ValueError or TypeError."""
        what = request.target.removeprefix("/control/")
        given = loads(request.body) if request.body else {}
        if what == "configure":
            self.world = World(Plan(**given))
        elif what == "sessions":
            self.world.seed_sessions(**given)
        elif what == "counters":
            return quoted(self.world.counters())
        elif what == "truth":
            return quoted(self.world.truth())
        else:
            raise ValueError(what)
        return "{}"


class Connection(asyncio.Protocol):
    """One client's connection: a request at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader = Reader()
        self._waiting = False
        self._counted: World | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and serve what is whole."""
        self._reader.feed(data)
        if not self._waiting:
            self._serve()

    def _serve(self) -> None:
        try:
            while not self._waiting and (request := self._reader.next()) is not None:
                self._one(request)
        except Malformed:
            self._transport.write(self._server.writer.answer(400, ERRORS[400]))
            self._transport.close()

    def _one(self, request: Request) -> None:
        server, world = self._server, self._server.world
        if request.target.startswith("/control/"):
            try:
                answer = server.writer.answer(200, server.control(request))
            except (ValueError, TypeError) as error:
                answer = server.writer.answer(400, quoted({"error": str(error)}))
            self._transport.write(answer)
            return
        if self._counted is not world:
            self._counted = world
            world.counts["connections"] += 1
        now = time.monotonic()
        world.began(now)
        reset = world.resets.draw() if world.resets else ""
        reply = None if reset == "before" else server.reply(request, now)
        if reset:
            world.counts["resets"] += 1
            reply = None
        if world.plan.latency:
            self._waiting = True
            loop = asyncio.get_running_loop()
            loop.call_later(world.plan.latency, self._answer, world, reply)
        else:
            self._answer(world, reply)

    def _answer(self, world: World, reply: Reply | None) -> None:
        late, self._waiting = self._waiting, False
        if self._transport.is_closing():
            world.ended()
            return
        if reply is None:
            end = self._transport.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
            world.ended()
            return
        status, body, wait, entries = reply
        self._transport.write(self._server.writer.answer(status, body, wait))
        for entry in entries:
            entry[5] = True
        world.ended()
        if late:
            self._serve()


async def serve(port: int = 0) -> tuple[asyncio.Server, str]:
    """Listen on the loopback; return the server, and its address."""
    loop = asyncio.get_running_loop()
    state = Server()
    listening = await loop.create_server(lambda: Connection(state), "127.0.0.1", port, backlog=1024)
    return listening, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def _main(port: int, stay: bool) -> None:
    listening, url = await serve(port)
    print(url, flush=True)
    async with listening:
        if stay:
            await listening.serve_forever()
        ended = asyncio.Event()  # whoever started it holds the other end of its standard input
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), lambda: os.read(0, 4096) or ended.set())
        await ended.wait()


def main() -> None:
    """Run from the command line."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    words.add_argument("--port", type=int, default=0, help="0 takes a free one")
    words.add_argument("--core", type=int, help="run on this core alone")
    words.add_argument("--stay", action="store_true", help="do not end with standard input")
    given = words.parse_args()
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    gc.disable()  # nothing here is a cycle but a connection, and pauses would be measured
    asyncio.run(_main(given.port, given.stay))


if __name__ == "__main__":
    main()
