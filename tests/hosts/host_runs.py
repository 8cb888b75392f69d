"""Runs hosts as what they are: processes, with warnings as errors, that get real signals."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic

from presence_manager import Settings
from presence_manager.emulator import Emulator

EXAMPLES = Path(__file__).parents[2] / "examples"
TENANT = "7a000000-0000-4000-8000-000000000001"
APP = "7a000000-0000-4000-8000-00000000000a"
DEADLINE = 2.0
"""Seconds that the closing sweep has in these tests."""
PATIENCE = 30.0


def user(number: int) -> str:
    return f"5e000000-0000-4000-8000-{number:012x}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def variables(emulator: Emulator, ledger: Path | None = None) -> dict[str, str]:
    """The settings that point a process to the emulator."""
    return {
        "PRESENCE_GRAPH__BASE_URL": emulator.graph_url,
        "PRESENCE_GRAPH__BUDGET": "100000",
        "PRESENCE_TENANT_ID": TENANT,
        "PRESENCE_CLIENT_ID": APP,
        "PRESENCE_ACCESS_TOKEN": emulator.token(TENANT, APP),
        "PRESENCE_LEDGER__URL": f"sqlite:///{ledger}" if ledger else "memory://",
        "PRESENCE_SHUTDOWN__DEADLINE": f"{DEADLINE}",
        "PRESENCE_RETRY__FIRST_WAIT": "0.01",
        "PRESENCE_RETRY__LONGEST_WAIT": "0.05",
        "PRESENCE_RETRY__SETTLE": "0.05",
        "PRESENCE_LOGS__FORMAT": "json",
    }


def host_settings(emulator: Emulator, ledger: Path | None = None) -> Settings:
    """The same, for a host in this process."""
    return Settings(
        tenant_id=TENANT,
        client_id=APP,
        access_token=emulator.token(TENANT, APP),
        graph={"base_url": emulator.graph_url},
        ledger={"url": f"sqlite:///{ledger}" if ledger else "memory://"},
        retry={"first_wait": 0.01, "longest_wait": 0.05, "settle": 0.05},
        shutdown={"deadline": DEADLINE},
    )


class Child:
    """A process that was started; its output is read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = ""
        self._more = asyncio.Event()
        self._told: float | None = None
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.out += line.decode()
            self._more.set()
        self._more.set()

    async def says(self, *texts: str) -> None:
        """Wait until all of these are in its output."""
        while not all(text in self.out for text in texts):
            assert not self._reading.done(), f"it has ended, and only said:\n{self.out}"
            self._more.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._more.wait()
            except TimeoutError:
                raise AssertionError(f"it only said:\n{self.out}") from None

    def signal(self, number: int) -> None:
        """Send it a signal; the first one starts the clock."""
        self.process.send_signal(number)
        self._told = self._told or monotonic()

    async def ended(self, *, tracebacks: int = 0) -> tuple[int, float]:
        """Its exit status, and the seconds from the first signal to its end.

        It may print `tracebacks`: those that its framework has for a request that was cut off.
        """
        async with asyncio.timeout(PATIENCE):
            status = await self.process.wait()
            seconds = monotonic() - (self._told or monotonic())
            await self._reading
        assert self.out.count("Traceback") <= tracebacks, self.out
        assert "was never" not in self.out, self.out
        assert "eyJ" not in self.out
        return status, seconds


@asynccontextmanager
async def running(
    program: str | Path, *words: str, environment: dict[str, str]
) -> AsyncIterator[Child]:
    """Start a Python program, or code; killed at the end if it still runs."""
    keep = ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "PYTHONPATH")
    what = [str(program)] if isinstance(program, Path) else ["-c", program]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-X", "dev", "-W", "error", *what, *words),
        env={k: v for k, v in os.environ.items() if k in keep} | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    child = Child(process)
    try:
        yield child
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await child._reading


async def until(condition: Callable[[], object]) -> None:
    """Wait until another process has brought this about."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def ask(port: int, method: str, path: str, body: str = "") -> str:
    """Make one plain HTTP request; return status line, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        async with asyncio.timeout(PATIENCE):
            return (await reader.read()).decode()
    except ConnectionError:  # the server went before it answered
        return ""
    finally:
        writer.close()


async def listening(port: int) -> None:
    """Wait until somebody listens there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


def remembered(ledger: Path) -> set[str]:
    """The users of whom the ledger says that a session may be left."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as book:
        return {name for (name,) in book.execute("select user from sessions")}


def unfinished(ledger: Path) -> set[str]:
    """The users whose clearing is written down as unfinished."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as book:
        rows = book.execute("select user from outcomes where kind = 'unfinished'")
        return {name for (name,) in rows}


def nothing_forgotten(emulator: Emulator, ledger: Path) -> None:
    """After the end: what is left on the server is in the ledger."""
    assert {session.user for session in emulator.sessions()} <= remembered(ledger)
