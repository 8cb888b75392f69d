"""Every way in which a process may end, in every weather: within its deadline, and truthfully."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from time import time
from typing import Any

import pytest
from host_runs import APP, Child, host_settings, remembered, user, variables

from presence_manager import PresenceManager
from presence_manager.emulator import Emulator, Fault
from presence_manager.graph import client
from tests.e2e.truth import contradictions

from .nursery import Nursery, nursery, warm

USERS = [user(n) for n in range(25)]
SECRET = "the-secret-that-must-not-leak"
DEADLINE = 0.6
SIDE_BY_SIDE = 4
HOUR = 3600

WAYS = (
    *("SIGTERM", "SIGINT", "second signal", "close during hold"),
    *("owner is cancelled", "exception in block", "loop closes"),
)
WEATHER = ("hung", "dripping", "throttled", "refused", "sign-in hung")


class Ahead:
    """A clock that is hours ahead: what waits for Retry-After need not be waited for."""

    def __init__(self, hours: int) -> None:
        self._ahead = hours * HOUR

    def now(self) -> float:
        return time() + self._ahead


async def spoil(emulator: Emulator, weather: str) -> None:
    match weather:
        case "hung":
            emulator.add_fault(Fault(effect="hang"))
        case "dripping":
            emulator.add_fault(Fault(effect="slow", seconds=60.0))
        case "throttled":
            emulator.add_fault(Fault(effect="throttle", retry_after=HOUR))
        case "refused":
            await emulator.stop()
        case "sign-in hung":
            emulator.revoke(None)
            emulator.add_fault(Fault(verb="token", effect="hang"))


async def end(child: Child, way: str) -> None:
    child.signal(signal.SIGINT if way == "SIGINT" else signal.SIGTERM)
    if way == "second signal":
        await child.says("daemon.stopping")
        child.signal(signal.SIGTERM)


def environment(emulator: Emulator, ledger: Path, way: str, weather: str) -> dict[str, str]:
    found = variables(emulator, ledger)
    found["PRESENCE_SHUTDOWN__DEADLINE"] = "60" if way == "second signal" else f"{DEADLINE}"
    if weather == "sign-in hung":
        del found["PRESENCE_ACCESS_TOKEN"]
        found |= {
            "PRESENCE_CLIENT_SECRET": SECRET,
            "PRESENCE_GRAPH__AUTHORITY": emulator.authority_url,
            "PRESENCE_GRAPH__CA_FILE": emulator.ca_file,
        }
    return found


async def cell(nursery: Nursery, folder: Path, way: str, weather: str) -> list[str]:
    """What is wrong with one end in one weather."""
    wrong: list[str] = []
    ledger = folder / f"{way} {weather}.db".replace(" ", "-")
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(limit=1_000_000, apps={APP: SECRET}))
        how = environment(emulator, ledger, way, weather)
        forked = await nursery.born(way, USERS, how)
        stack.push_async_callback(forked.end)
        child = Child(forked)
        await child.says("holding")
        await spoil(emulator, weather)
        await end(child, way)
        await child.says("closed")
        if weather == "refused":
            await emulator.start()  # from now on it would hear whatever is sent
        await asyncio.sleep(0.05)  # what was sent before is here by now; the child lingers
        sent = len(emulator.journal), emulator.requests, emulator.token_requests
        status, _ = await child.ended()
        if (len(emulator.journal), emulator.requests, emulator.token_requests) != sent:
            wrong.append("something was sent after close()")
        told: dict[str, Any] = json.loads(child.out.splitlines()[-1])
        limit = (0.0 if way == "second signal" else DEADLINE) + 1.0
        if told["seconds"] > limit + told["lag"]:
            wrong.append(f"took {told['seconds']:.2f} s, with {told['lag']:.2f} s of lag")
        if status != (1 if "SIG" in way or way == "second signal" else 0):
            wrong.append(f"exit status {status}")
        wrong += await afterwards(emulator, ledger, weather, told)
        if SECRET in child.out or wrong:
            wrong.append(child.out[-3000:])
    return wrong


async def afterwards(
    emulator: Emulator, ledger: Path, weather: str, told: dict[str, Any]
) -> list[str]:
    """What is wrong with the report, with the ledger, and with the next start."""
    wrong: list[str] = []
    report = told["report"]
    if "late" in told and not told["late"].startswith(("Closed", "HoldTimeout")):
        wrong.append(f"the hold that was on its way: {told['late']}")
    left = remembered(ledger)
    if missing := {session.user for session in emulator.sessions()} - left:
        wrong.append(f"shown, and not in the ledger: {missing}")
    if report is None or report["ok"]:
        return [*wrong, f"reported {report}"]
    emulator.clear_faults()
    settings = host_settings(emulator, ledger)
    ahead: Any = Ahead(1) if weather == "throttled" else None
    async with AsyncExitStack() as stack:
        presence = PresenceManager(settings, clock=ahead)
        await presence.open(recover=False)
        stack.push_async_exit(presence)
        outcomes = [o async for o in presence.outcomes(sweep_id=report["sweep_id"])]
        kinds = [str(outcome.kind) for outcome in outcomes]
        if {kind: kinds.count(kind) for kind in set(kinds)} != report["counts"]:
            wrong.append(f"{report['counts']} reported, {kinds} in the ledger")
        told_of = {outcome.user for outcome in outcomes}
        expected = sorted(told_of | set(USERS[:-1]) if report["complete"] else told_of)
        wrong += contradictions(emulator, outcomes, expected)
        if unresolved := {o.user for o in outcomes if not o.kind.final} - left:
            wrong.append(f"unfinished, and not in the ledger: {unresolved}")
        recovered = await presence.recovered(deadline=10.0)
        if not recovered.ok:
            wrong.append(f"the next start: {recovered}")
        if rows := [row async for row in presence.sessions()]:
            wrong.append(f"in the ledger after the next start: {rows}")
    if emulator.sessions():
        wrong.append(f"left after the next start: {len(emulator.sessions())}")
    return wrong


@pytest.mark.skipif(sys.platform == "win32", reason="the ends are asked for by signals")
async def test_every_end_in_every_weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "tls_context", warm(client.tls_context))
    places = asyncio.Semaphore(SIDE_BY_SIDE)
    found: dict[str, list[str]] = {}

    async def one(forking: Nursery, way: str, weather: str) -> None:
        async with places:
            try:
                wrong = await cell(forking, tmp_path, way, weather)
            except Exception as error:
                wrong = [repr(error)]
        if wrong:
            found[f"{way}, {weather}"] = wrong

    async with nursery(tmp_path) as forking:
        await asyncio.gather(*(one(forking, *each) for each in product(WAYS, WEATHER)))
    assert found == {}
