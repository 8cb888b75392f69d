"""What the face promises beside holding and clearing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from presence_manager import Closed, Kind

from .virtual import FakeGraph, SharedLedger, manager, user, virtual


@virtual
async def test_a_manager_carried_over_a_fork_raises() -> None:
    async with manager(FakeGraph()) as presence:
        presence._pid = os.getpid() + 1
        with pytest.raises(Closed, match="carried over a fork"):
            await presence.hold(user(1), "Busy")
        presence._pid = os.getpid()


@virtual
async def test_outcomes_are_kept_for_thirty_days() -> None:
    graph, ledger = FakeGraph(), SharedLedger()
    async with manager(graph, ledger) as presence:
        await presence.clear(user(1))
    await asyncio.sleep(29 * 86400.0)
    async with manager(graph, ledger, recovery={"watch": 3600}) as presence:
        assert [o.kind async for o in presence.outcomes()] == [Kind.ALREADY_GONE]
    await asyncio.sleep(2 * 86400.0)
    async with manager(graph, ledger, recovery={"watch": 3600}) as presence:
        assert [o.kind async for o in presence.outcomes()] == []


@virtual
async def test_outcomes_are_forgotten_by_a_process_that_never_ends_as_well() -> None:
    async with manager(FakeGraph(), recovery={"watch": 3600}) as presence:
        await presence.clear(user(1))
        await asyncio.sleep(29 * 86400.0)
        await presence.clear(user(2))
        assert [o.user async for o in presence.outcomes()] == [user(1), user(2)]
        await asyncio.sleep(2.5 * 86400.0)
        assert [o.user async for o in presence.outcomes()] == [user(2)]


@virtual
async def test_outcomes_are_found_by_what_one_knows_of_them() -> None:
    graph = FakeGraph()
    async with manager(graph) as presence:
        first = await presence.clear(user(1))
        await asyncio.sleep(10.0)
        graph.answers[user(2)] = [403]
        second = await presence.clear(user(2))
        found = {
            "since": [o.user async for o in presence.outcomes(since=second.at)],
            "kind": [o.user async for o in presence.outcomes(kind="failed")],
            "user": [o.user async for o in presence.outcomes(user=user(1).upper())],
            "sweep": [o.user async for o in presence.outcomes(sweep_id=first.sweep_id)],
        }
        assert found == {
            "since": [user(2)], "kind": [user(2)], "user": [user(1)], "sweep": [user(1)],
        }  # fmt: skip


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "aiohttp msal tenacity pydantic sqlite3 structlog"
    code = (
        f"import sys, presence_manager; print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
