"""A loop that closes cancels every task at once, those within the manager and its closing too."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from presence_manager import Kind
from tests.engine.virtual import VirtualLoop, user, virtual

from .calls import CALLS, Call
from .ports import DISK, Steps
from .stage import CALM, Stage
from .test_hang import run

DEADLINE = 5.0
MAIN = [name for name, call in CALLS.items() if call.opened and not call.variant]


async def owner(call: Call, stage: Stage, ready: asyncio.Event) -> None:
    """A task that owns the block, as `async with` would."""
    presence = stage.presence
    await presence.open(recover=False)
    try:
        await call.prepare(stage)
        ready.set()
        await call.make(stage)
        if presence._state == "open":
            await asyncio.sleep(0)
    finally:
        await presence.close(deadline=DEADLINE)


async def cancel_all() -> float:
    """Do as a runner does; return how many seconds it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    every = {t for t in asyncio.all_tasks() if t.get_name() != DISK} - {asyncio.current_task()}
    for task in every:
        task.cancel()  # type: ignore[union-attr]
    if every:
        await asyncio.wait(every)  # type: ignore[type-var]
    return loop.time() - began


async def closed_at(call: Call, stage: Stage, turns: int) -> list[str]:
    ready = asyncio.Event()
    task = asyncio.create_task(owner(call, stage, ready))
    await ready.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    wrong: list[str] = []
    if (took := await cancel_all()) > DEADLINE + 0.95:
        wrong.append(f"took {took:.1f} s")
    if not task.cancelled() and (error := task.exception()):
        wrong.append(repr(error))
    sent = len(stage.graph.requests)
    # A task of a lane that is cancelled before its first step cannot give its slots back.
    books = stage.after_close(open_attempts=True)
    wrong += [each for each in books if not each.startswith(("slots", "tasks that go on: set()"))]
    await asyncio.sleep(CALM)
    if len(stage.graph.requests) != sent:
        wrong.append("sent after the end")
    return wrong + await stage.successor()


@pytest.mark.parametrize("name", MAIN)
def test_a_loop_that_closes_at_any_turn(name: str) -> None:
    call = CALLS[name]
    _, _, turns = run(call, 0, "count")
    found: list[str] = []
    for turn in range(0, turns + 2, 2):  # a call begins and ends in odd ones, too

        async def story(turn: int = turn) -> list[str]:
            async with Stage(Steps()) as stage:
                return await closed_at(call, stage, turn) + stage.complaints

        with asyncio.Runner(debug=False, loop_factory=VirtualLoop) as runner:
            found += [f"{turn}: {each}" for each in runner.run(story())]
    assert found == []


@virtual
async def test_what_is_in_flight_when_the_loop_closes_is_cleared_all_the_same() -> None:
    async with Stage(Steps(), retry={"settle": 0.5}) as stage:
        presence = stage.presence
        await presence.open(recover=False)
        await presence.hold(user(1), "Busy")
        stage.graph.latency = 0.4
        sent = len(stage.graph.requests)

        async def block() -> None:
            try:
                await presence.hold(user(2), "Busy")
            finally:
                await presence.close(deadline=DEADLINE)

        task: Any = asyncio.create_task(block())
        while len(stage.graph.requests) == sent:
            await asyncio.sleep(0.01)
        assert await cancel_all() < 2.0
        assert task.cancelled()
        assert presence.last_report is not None
        assert presence.last_report.ok
        assert presence.last_report.counts[Kind.CLEARED] == 1  # the other: lost, and gone by then
        assert stage.graph.sessions == {}
        assert stage.after_close() == []
