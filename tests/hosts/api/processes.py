"""`presence-manager run` as a process, and requests of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from host_runs import Child, running, variables
from serving import BUSY, hold_path

from presence_manager.emulator import Emulator

RUN = "from presence_manager.hosts.cli import main; main()"

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such signals, no such sockets")


class Running:
    """A daemon's process, and where it answers."""

    def __init__(self, child: Child, url: str, ready: Path) -> None:
        self.child = child
        self.url = url
        self.ready = ready


@asynccontextmanager
async def daemon(
    emulator: Emulator, folder: Path, *words: str, listen: str = "127.0.0.1:0", **more: str
) -> AsyncIterator[Running]:
    ready = folder / "ready"
    environment = variables(emulator, folder / "ledger.db") | more
    words = ("run", "--listen", listen, "--ready-file", str(ready), *words)
    async with running(RUN, *words, environment=environment) as child:
        while not ready.exists():
            assert child.process.returncode is None, child.out
            await asyncio.sleep(0.01)
        text = ready.read_text()
        assert text.endswith("\n")
        yield Running(child, text.strip(), ready)


async def hold(http: aiohttp.ClientSession, number: int, query: str = "") -> int:
    async with http.put(hold_path(number) + query, json=BUSY) as answer:
        await answer.read()
        return answer.status
