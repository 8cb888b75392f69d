"""A few thousand holds, renewals and clears; `make endurance` goes on to hundreds of thousands."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.engine.virtual import FakeGraph, manager, user, virtual

from . import gauge
from .run import run


def test_nothing_grows(tmp_path: Path) -> None:
    figures = run(tmp_path, goal=2_000, size=500)
    assert figures.all >= 2_000
    assert figures.holds == figures.clears
    assert figures.kinds["cleared"] > figures.holds / 2
    assert "failed" not in figures.kinds
    assert "unfinished" not in figures.kinds


@virtual
async def test_it_sees_what_is_kept() -> None:
    async with manager(FakeGraph()) as presence:
        hold = await presence.hold(user(1), "Busy")
        assert {name for name, n in gauge.parts(presence).items() if n} == {"holds", "renewals"}
        await hold.release()
        assert not any(gauge.parts(presence).values())
        presence._works.sweeper._fetching.add(asyncio.create_task(asyncio.sleep(0)))
        assert gauge.parts(presence)["sweeps' refills"] == 1


def test_it_sees_that_memory_has_grown() -> None:
    warm, kept = gauge.memory(), [[n] for n in range(gauge.MEMORY["blocks"] * 2)]
    grown = gauge.memory()
    assert grown["blocks"] - warm["blocks"] > gauge.MEMORY["blocks"]
    assert grown["objects"] - warm["objects"] > gauge.MEMORY["objects"]
    assert len(kept) == gauge.MEMORY["blocks"] * 2
