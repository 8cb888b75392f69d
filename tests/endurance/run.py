"""The run: rounds of holds, renewals and clears, and a look at all gauges after each."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from presence_manager import Hold, HoldFailed, HoldRequest, PresenceManager, Settings
from presence_manager.ledger import SqliteLedger

from . import gauge
from .fast import SPEED, FastClock, FastLoop
from .server import APP, TENANT

ROOT = Path(__file__).parents[2]
LEASE = 300.0
SHORT = 200.0
"""Seconds after which every tenth hold ends by itself."""
PATIENCE = 60.0 * SPEED
"""Seconds of fast time for a round to come to rest."""


@dataclass
class Grown(Exception):
    """Something is larger than it was."""

    what: list[str]

    def __str__(self) -> str:
        return "\n".join(self.what)


@dataclass
class Figures:
    """What a run did, and the gauges when it was warm and at its end."""

    holds: int = 0
    renewals: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    warm: dict[str, int] = field(default_factory=dict)
    end: dict[str, int] = field(default_factory=dict)

    @property
    def clears(self) -> int:
        return sum(self.kinds.values())

    @property
    def all(self) -> int:
        return self.holds + self.renewals + self.clears


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """An emulator in a process of its own; its address and a token."""
    command = [sys.executable, "-m", "tests.endurance.server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url, token = process.stdout.readline().split()
        try:
            yield url, token
        finally:
            process.stdin.close()


def user(number: int) -> str:
    return str(UUID(int=0x5E << 120 | 4 << 76 | 2 << 62 | number))


def run(
    folder: Path, goal: int, size: int, tell: Callable[[Figures], None] = lambda _: None
) -> Figures:
    """Hold, renew and clear `goal` times in all, `size` users in a round. Raises Grown."""
    with server() as (url, token), asyncio.Runner(loop_factory=FastLoop) as runner:
        runner.get_loop().set_debug(False)  # it would keep more, and be five times as slow
        return runner.run(_run(folder, url, token, goal, size, tell))


async def _run(
    folder: Path, url: str, token: str, goal: int, size: int, tell: Callable[[Figures], None]
) -> Figures:
    before = gauge.process()
    ledger = SqliteLedger(folder / "ledger.db")
    figures = Figures()
    settings = Settings(
        tenant_id=TENANT,
        client_id=APP,
        access_token=token,
        graph={"base_url": url, "budget": 100_000, "timeout": 100.0},
        hold={"lease": LEASE, "timeout": 3600.0},
        retry={"attempts": 50},
        release={"timeout": 600.0},
    )
    clock = FastClock()
    presence = PresenceManager(settings, ledger=ledger, clock=clock)
    async with presence:
        first = 0
        while not figures.warm or figures.all < goal:
            await _round(presence, clock, figures, first, size)
            first += size
            await ledger.forget(clock.now())  # as a start does with what is old
            await _at_rest(presence)
            seen = await _look(presence, ledger)
            if not figures.warm and figures.all >= min(goal // 5, 30_000):
                figures.warm = seen
            figures.end = seen
            tell(figures)
    del presence
    await _poll(lambda: gauge.process() == before, lambda: f"{gauge.process()}, was {before}")
    grown = [
        f"{name}: {figures.warm[name]} when warm, {figures.end[name]} at the end"
        for name, most in (gauge.MEMORY | {"pages": gauge.PAGES}).items()
        if figures.end[name] > figures.warm[name] + most
    ]
    if grown:
        raise Grown(grown)
    return figures


async def _round(
    presence: PresenceManager, clock: FastClock, figures: Figures, first: int, size: int
) -> None:
    """Hold `size` users, see them renewed, and end them in every way there is."""
    names = [user(n) for n in range(first, first + size)]
    short = set(names[::10])
    held = await presence.hold_many(
        HoldRequest(name, "Busy", "InACall", ttl=SHORT if name in short else None) for name in names
    )
    holds = [hold for hold in held if isinstance(hold, Hold)]
    failed = [each for each in held if isinstance(each, HoldFailed)]
    for each in failed:  # a short one may end before it is shown, where the machine is busy
        if each.request.user not in short:
            raise each.error
    figures.holds += size
    began = clock.now()
    lasting = size - len(short)
    async with asyncio.timeout(PATIENCE):
        while True:  # until all are renewed, and the short ones have ended
            rows = [row async for row in presence.sessions()]
            renewed = [row for row in rows if row.due >= began + LEASE / 2]
            if len(rows) == len(renewed) == lasting:
                break
            await asyncio.sleep(5.0)
    figures.renewals += lasting
    figures.kinds["ended by itself"] += len(short)
    mine = [hold for hold in holds if hold.user not in short]
    third = len(mine) // 3
    for outcome in await asyncio.gather(*(hold.release() for hold in mine[:third])):
        figures.kinds[outcome.kind] += 1
    given = [hold.user for hold in mine[third : 2 * third]]
    for report in (await presence.sweep(given), await presence.sweep()):
        figures.kinds.update(report.counts)


async def _at_rest(presence: PresenceManager) -> None:
    def rest() -> bool:
        return not any(gauge.parts(presence).values())

    await _poll(rest, lambda: f"{gauge.parts(presence)}")


async def _look(presence: PresenceManager, ledger: SqliteLedger) -> dict[str, int]:
    """Read all gauges; raise Grown where something is kept that ought not to be."""
    found = await gauge.ledger_file(ledger)
    kept = [f"{name}: {found[name]}" for name in ("sessions", "holds") if found[name]]
    kept += [f"{k}: {n}, at most {m}" for k, (n, m) in gauge.bounded(presence).items() if n > m]
    if kept:
        raise Grown(kept)
    return found | gauge.memory() | gauge.process()


async def _poll(condition: Callable[[], bool], say: Callable[[], str]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(1.0)
    except TimeoutError:
        raise Grown([f"not at rest: {say()}"]) from None
