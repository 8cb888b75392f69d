"""Runs the command line as what it is: a process, with warnings as errors."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from presence_manager.emulator import Emulator

TENANT = "7a000000-0000-4000-8000-000000000001"
OTHER_TENANT = "7a000000-0000-4000-8000-000000000002"
APP = "7a000000-0000-4000-8000-00000000000a"
SECRET = "the-secret-of-the-tests"
PLACE = "Put it on a "
"""What is said of a ledger on tmpfs or in a container, which is where tests may run."""
PYTHON = [sys.executable, "-X", "dev", "-W", "error", "-m", "presence_manager"]


def user(number: int) -> str:
    return f"5e000000-0000-4000-8000-{number:012x}"


@dataclass
class Run:
    """What a command came to."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def clean(self) -> Run:
        """No traceback, no complaint of asyncio, no secret."""
        for text in (self.out, self.err):
            assert "Traceback" not in text, text
            assert "was never" not in text, text
            assert SECRET not in text
            assert "eyJ" not in text
        return self


class Cli:
    """The command in its own folder, pointed to an emulator, or to nothing."""

    def __init__(self, folder: Path, emulator: Emulator | None = None, **settings: str) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.db"
        keep = ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "PYTHONPATH")
        self.environment = {k: v for k, v in os.environ.items() if k in keep}
        self.environment["PRESENCE_LEDGER__URL"] = f"sqlite:///{self.ledger}"
        if emulator is not None:
            self.environment |= {
                "PRESENCE_GRAPH__BASE_URL": emulator.graph_url,
                "PRESENCE_GRAPH__BUDGET": "100000",
                "PRESENCE_TENANT_ID": TENANT,
                "PRESENCE_CLIENT_ID": APP,
                "PRESENCE_ACCESS_TOKEN": emulator.token(TENANT, APP),
                "PRESENCE_RETRY__FIRST_WAIT": "0.01",
                "PRESENCE_RETRY__LONGEST_WAIT": "0.05",
                "PRESENCE_RETRY__SETTLE": "0.05",
            }
        self.environment |= settings

    def file(self, *lines: str, name: str = "users.txt") -> str:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return str(path)

    @asynccontextmanager
    async def start(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start it; killed at the end if it still runs."""
        process = await asyncio.create_subprocess_exec(
            *PYTHON,
            *words,
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, *words: str, stdin: bytes = b"") -> Run:
        """Run it to its end."""
        async with self.start(*words) as process:
            return await ended(process, stdin)

    async def each(self, cases: Mapping[tuple[str, ...], str], *command: str) -> None:
        """Run wrong usages, side by side: each ends with 2 and says this."""
        runs = await asyncio.gather(*(self.run(*command, *words) for words in cases))
        for run, says in zip(runs, cases.values(), strict=True):
            assert (run.status, run.out) == (2, ""), run
            assert says in run.err


async def ended(process: asyncio.subprocess.Process, stdin: bytes = b"") -> Run:
    """Wait for the end of a command that was started."""
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    told = [line for line in err.decode().splitlines(keepends=True) if PLACE not in line]
    return Run(process.returncode, out.decode(), "".join(told)).clean()


async def until(condition: Callable[[], object]) -> None:
    """Wait until another process has brought this about."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
