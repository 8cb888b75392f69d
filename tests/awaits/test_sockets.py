"""The same calls over real sockets and a real file: nothing stays open after a cancellation."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from presence_manager import LedgerError, PresenceManager, Settings
from presence_manager.emulator import Emulator, Fault
from presence_manager.graph import client
from presence_manager.ledger.database import Database
from tests.engine.virtual import APP, TENANT, user
from tests.weather.nursery import warm

from .calls import CALLS, Call
from .ports import Steps

PATIENCE = 10.0
TLS = warm(client.tls_context)


def open_files() -> Counter[str]:
    """What this process has open, by name; sockets only counted."""
    found: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            name = str(entry.readlink())
        except OSError:  # the folder itself, by which we look
            continue
        found[name.split(":", maxsplit=1)[0]] += 1
    return found


class RealStage:
    """As `stage.Stage`, on what the product really stands on."""

    def __init__(self, emulator: Emulator, ledger: Path) -> None:
        self.emulator = emulator
        self.settings = Settings(
            tenant_id=TENANT,
            client_id=APP,
            access_token=emulator.token(TENANT, APP),
            graph={"base_url": emulator.graph_url, "timeout": 1.0},
            ledger={"url": f"sqlite:///{ledger}"},
            retry={"first_wait": 0.01, "longest_wait": 0.05, "settle": 0.05},
        )
        self.presence = PresenceManager(self.settings)
        self.kept: dict[str, Any] = {}
        self.steps = Steps()
        self.graph = SimpleNamespace(sessions={})

    async def orphans(self, *numbers: int) -> None:
        dead = PresenceManager(self.settings)
        await dead.open(recover=False)
        for number in numbers:
            await dead.hold(user(number), "Busy")
        await dead.close(sweep=False)


class Disk:
    """Makes the ledger's thread wait, from the next job on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed = False
        self.hangs = threading.Event()
        self.go_on = threading.Event()
        run = Database.run

        def hanging(database: Database, jobs: Any) -> None:
            if self.armed:
                self.hangs.set()
                self.go_on.wait(PATIENCE)
            run(database, jobs)

        monkeypatch.setattr(Database, "run", hanging)

    def arm(self) -> None:
        self.hangs.clear()
        self.go_on.clear()
        self.armed = True

    def let_go(self) -> None:
        self.armed = False
        self.go_on.set()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what is open is read from /proc")
@pytest.mark.parametrize("where", ["graph", "ledger"])
async def test_nothing_stays_open(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "tls_context", TLS)
    disk = Disk(monkeypatch)
    async with Emulator() as emulator:
        before, threads = open_files(), threading.active_count()
        for number, call in enumerate(each for each in CALLS.values() if not each.variant):
            stage: Any = RealStage(emulator, tmp_path / f"{number}.db")
            await _cancelled(call, stage, where, disk)
            with suppress(LedgerError):  # the close that was cancelled could not read it
                await stage.presence.close()
            del stage
            try:
                async with asyncio.timeout(PATIENCE):  # until the other ends have seen it
                    while open_files() != before or threading.active_count() > threads:
                        await asyncio.sleep(0.005)
            except TimeoutError:
                pytest.fail(f"{call.name}: {open_files() - before}, {threading.enumerate()}")
            assert _ours() == [], call.name
    gc.collect()  # a ResourceWarning is an error here


async def _cancelled(call: Call, stage: RealStage, where: str, disk: Disk) -> None:
    if call.opened:
        await stage.presence.open(recover=False)
    await call.prepare(stage)  # type: ignore[arg-type]
    sent = stage.emulator.requests
    if where == "graph":
        stage.emulator.add_fault(Fault(effect="hang", seconds=0.1))
    else:
        disk.arm()
    task: asyncio.Future[Any] = asyncio.ensure_future(call.make(stage))  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE):
        while not (task.done() or disk.hangs.is_set() or stage.emulator.requests > sent):
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    disk.let_go()
    stage.emulator.clear_faults()
    await asyncio.wait({task})


def _ours() -> list[asyncio.Task[Any]]:
    """Tasks of the product that still run."""
    package = str(Path(sys.modules["presence_manager"].__path__[0]))
    return [
        task
        for task in asyncio.all_tasks()
        if (where := task.get_coro().cr_code.co_filename).startswith(package)  # type: ignore[union-attr]
        and "emulator" not in where
    ]
