"""Two processes on one ledger, one of them killed; and one killed at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from presence_manager import HoldRequest, Kind, PresenceManager, Settings
from presence_manager.emulator import Emulator

from .truth import APP, TENANT, user

ROOT = Path(__file__).parents[2]


def settings(emulator: Emulator, ledger: Path) -> Settings:
    return Settings(
        tenant_id=TENANT,
        client_id=APP,
        access_token=emulator.token(TENANT, APP),
        graph={"base_url": emulator.graph_url, "budget": 100_000},
        ledger={"url": f"sqlite:///{ledger}"},
        retry={"settle": 0.2, "first_wait": 0.01},
        recovery={"watch": 0.05},
    )


@asynccontextmanager
async def holder(emulator: Emulator, ledger: Path, users: list[str]) -> AsyncIterator[Process]:
    environment = {
        "PRESENCE_TENANT_ID": TENANT,
        "PRESENCE_CLIENT_ID": APP,
        "PRESENCE_ACCESS_TOKEN": emulator.token(TENANT, APP),
        "PRESENCE_GRAPH__BASE_URL": emulator.graph_url,
        "PRESENCE_LEDGER__URL": f"sqlite:///{ledger}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.holder", *users,
        stdout=PIPE, stderr=PIPE, cwd=ROOT, env=os.environ | environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _said(process: Process, word: bytes) -> None:
    assert process.stdout is not None
    while word not in (line := await process.stdout.readline()):
        assert line, (await process.stderr.read()).decode() if process.stderr else ""


async def test_the_dead_ones_are_cleared_at_once_and_the_others_stay(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    theirs = [user(n) for n in range(30)]
    mine = [user(n) for n in range(20, 60)]
    async with Emulator(limit=1_000_000) as emulator:
        async with PresenceManager(settings(emulator, ledger)) as presence:
            await presence.hold_many(HoldRequest(name, "Away") for name in mine)
            async with holder(emulator, ledger, theirs) as process:
                await _said(process, b"holding 30")
                assert len(emulator.sessions()) == 60
                process.kill()
                await process.wait()
                async with asyncio.timeout(5.0):
                    while {s.user for s in emulator.sessions()} != set(mine) or any(
                        s.availability != "Away" for s in emulator.sessions()
                    ):
                        await asyncio.sleep(0.01)  # the real time of two real processes
            rows = {row.user async for row in presence.sessions()}
            assert rows == set(mine)
            kinds = [o.kind async for o in presence.outcomes()]
            assert kinds == [Kind.CLEARED] * 20
        assert emulator.sessions() == []


async def test_killed_at_any_moment_nobody_stays_busy(tmp_path: Path) -> None:
    chance = random.Random(20261124)
    async with Emulator(limit=1_000_000, latency=0.005) as emulator:
        for turn in range(4):
            ledger = tmp_path / f"ledger-{turn}.db"
            users = [user(1000 * turn + n) for n in range(200)]
            async with holder(emulator, ledger, users) as process:
                enough = chance.randrange(1, 200)
                while sum(e.user in users for e in emulator.journal) < enough:
                    await asyncio.sleep(0.001)
                process.kill()
            async with PresenceManager(settings(emulator, ledger)) as presence:
                report = await presence.recovered()
                outcomes = [o async for o in presence.outcomes(sweep_id=report.sweep_id)]
            assert report.ok
            assert len({o.user for o in outcomes}) == len(outcomes) == report.total
            assert emulator.sessions() == []
