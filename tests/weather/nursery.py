"""A warm process that forks the children, so that none of them pays for its imports.

It has neither a thread nor a loop when it forks. Who connects to its socket and sends an order, in
a line of JSON, hears the child's number, then its words, and at last its exit status. A child ends
as every process does: through the interpreter's own end.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def warm(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The TLS context for the authorities of this machine, made once: it costs more than all."""
    usual = make(None)
    return lambda ca_file: usual if ca_file is None else make(ca_file)


def main(path: str) -> int:
    """Fork until standard input ends; in a child, live its life and return its exit status."""
    import msal  # noqa: F401 - what a sign-in imports later

    from presence_manager.graph import client
    from tests.weather import child

    client.tls_context = warm(client.tls_context)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    born: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([0, listener], [], [], 0.02)
        if listener in ready:
            caller, _ = listener.accept()
            order = json.loads(caller.makefile().readline())
            pid = os.fork()
            if not pid:
                listener.close()
                for other in born.values():
                    other.close()
                os.dup2(caller.fileno(), 1)
                os.dup2(caller.fileno(), 2)
                caller.close()
                os.environ.update(order["environment"])
                return child.main(order["way"], order["users"])
            born[pid] = caller
            caller.sendall(b"%d\n" % pid)
        elif 0 in ready and not os.read(0, 1):
            listener.close()
            return 0
        for pid in list(born):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                caller = born.pop(pid)
                caller.sendall(b"status %d\n" % os.waitstatus_to_exitcode(status))
                caller.close()


class Forked:
    """A child, with as much of a subprocess as `host_runs.Child` asks for."""

    def __init__(
        self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = pid
        self.stdout = self
        self._reader = reader
        self._writer = writer
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def readline(self) -> bytes:
        line = await self._reader.readline()
        if line.startswith(b"status "):
            self._status.set_result(int(line.split()[1]))
            return b""
        return line

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def wait(self) -> int:
        return await asyncio.shield(self._status)

    async def end(self) -> None:
        """End it if it still runs, and let go of it."""
        if not self._status.done():
            self.send_signal(signal.SIGKILL)
            await self.wait()
        self._writer.close()
        await self._writer.wait_closed()


class Nursery:
    """The warm process; `born` forks a child."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def born(self, way: str, users: list[str], environment: dict[str, str]) -> Any:
        reader, writer = await asyncio.open_unix_connection(self._path)
        order = {"way": way, "users": users, "environment": environment}
        writer.write(json.dumps(order).encode() + b"\n")
        return Forked(int(await reader.readline()), reader, writer)


@asynccontextmanager
async def nursery(folder: Path) -> AsyncIterator[Nursery]:
    path = str(folder / "nursery")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-m", "tests.weather.nursery", path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=HERE.parents[1],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield Nursery(path)
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
