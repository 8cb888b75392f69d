"""Hang at each await, cancel, and check the books."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

import pytest

from presence_manager import Hold, PresenceManager
from presence_manager.errors import Closed, LedgerError, PresenceError
from presence_manager.manager.pages import Pages
from tests.engine.virtual import VirtualLoop

from .calls import CALLS, PAGES, Call
from .ports import Steps
from .stage import CALM, Stage

PATIENT = 60.0
"""Seconds: longer than the time limit of any call."""
ENDLESS = "waits without end"
PATIENT_CALLS = {
    *("open", "enter", "recovered", "sessions", "outcomes", "pages"),  # they read, without limit
    *("track", "release by name", "release of another"),  # what they are told must be written
    *("holding", "Hold.release", "Hold.release of the newer"),
    "Hold.shown",  # "however long that takes"
}
"""Those that wait for the ledger as long as it takes; only Graph has a time limit there."""


async def play(call: Call, stage: Stage, how: str, turns: int) -> tuple[list[str], int]:
    """Make the call, spoil it as it is said, and return what is wrong in the end."""
    presence, steps = stage.presence, stage.steps
    loop: Any = asyncio.get_running_loop()
    if call.opened:
        await presence.open(recover=False)
    await call.prepare(stage)
    steps.armed = True
    before = loop.turns
    task = asyncio.create_task(call.make(stage))
    task.add_done_callback(lambda _: setattr(steps, "armed", False))
    wrong: list[str] = []
    if how == "turns":
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    elif how != "count":
        await _until(steps.hangs, task)
        if how == "cancel":
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
        elif how == "close":  # the interpreter wants to end within the second, too
            began = loop.time()
            with suppress(LedgerError, Closed):  # the ledger hangs; or it is not yet open
                await presence.close(deadline=3.0)
            if loop.time() - began > (5.0 if call.name.startswith("close") else 3.0) + 0.95:
                wrong.append(f"the end took {loop.time() - began:.1f} s")
        else:
            await asyncio.wait({task}, timeout=PATIENT)
            if not task.done():
                wrong.append(ENDLESS)
        steps.go_on()
    await asyncio.wait({task}, timeout=CALM)
    turned = loop.turns - before
    assert task.done(), "it never ends"
    result = None
    if task.cancelled():
        if how not in ("cancel", "turns"):
            wrong.append("cancelled, though nobody did")
    elif (error := task.exception()) is None:
        result = task.result()
    elif not isinstance(error, PresenceError):
        raise error
    elif how not in ("time out", "close"):
        wrong.append(f"raised {error!r}")
    await asyncio.sleep(CALM)
    if presence._state == "open":
        wrong += call.after(stage, result) if result is not None or how != "time out" else []
        wrong += stage.at_rest()
        report = await presence.close()
        if report is None or not report.ok:
            wrong.append(f"the end: {report}")
        if stage.graph.sessions and call.opened:
            wrong.append(f"left after the end: {stage.graph.sessions}")
    sent = len(stage.graph.requests)
    await asyncio.sleep(CALM)
    if len(stage.graph.requests) > sent:
        wrong.append("sent after the end")
    wrong += stage.after_close(open_attempts=how in ("close", "time out"))
    if how in ("cancel", "turns", "count"):
        wrong += stage.faults()
    wrong += await stage.successor()
    return wrong, turned


async def _until(event: asyncio.Event, task: asyncio.Task[Any]) -> None:
    reached = asyncio.create_task(event.wait())
    await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    assert event.is_set(), "it ended without that await"


def run(call: Call, hang_at: int, how: str, turns: int = -1) -> tuple[list[str], Steps, int]:
    """Return what is wrong, the steps of the ports, and how many turns of the loop it took."""

    async def story() -> tuple[list[str], Steps, int]:
        steps = Steps(hang_at)
        async with Stage(steps) as stage:
            COMPLAINTS.append(stage.complaints)
            wrong, turned = await play(call, stage, how, turns)
        return wrong, steps, turned

    with asyncio.Runner(debug=False, loop_factory=VirtualLoop) as runner:
        return runner.run(story())


COMPLAINTS: list[list[str]] = []
"""What the loops said of exceptions that nobody took."""


@pytest.fixture(scope="module", autouse=True)
def _no_complaints() -> Iterator[None]:
    yield
    gc.collect()
    assert [each for complaints in COMPLAINTS for each in complaints] == []


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Call:
    return CALLS[request.param]


@pytest.mark.parametrize("how", ["cancel", "close", "time out"])
def test_an_await_that_hangs(call: Call, how: str) -> None:
    """Each await of a port in turn: the caller is cancelled, or the manager closed, or neither."""
    wrong, steps, _ = run(call, 0, "count")
    assert wrong == []
    found: list[str] = []
    for number, name in enumerate(steps.names, 1):
        for each in run(call, number, how)[0]:
            if not (each == ENDLESS and (call.name in PATIENT_CALLS or name == "block")):
                found.append(f"{number} {name}: {each}")  # noqa: PERF401
    assert found == []


def test_a_caller_that_is_cancelled_at_any_turn(call: Call) -> None:
    """Between any two turns of the loop, also where nothing of ours awaits a port."""
    _, _, turns = run(call, 0, "count")
    every = range(1, turns, 3 if call.variant else 1)
    found = [f"{n}: {each}" for n in every for each in run(call, 0, "turns", n)[0]]
    assert found == []


def test_every_public_coroutine_is_among_the_calls() -> None:
    public = {
        f"{kind.__name__}.{name}"
        for kind in (PresenceManager, Hold, Pages)
        for name, what in vars(kind).items()
        if not name.startswith("_")
        and (iscoroutinefunction(what) or isasyncgenfunction(what) or name == "holding")
    }
    tried = {f"PresenceManager.{name.replace(',', ' ').split()[0]}" for name in CALLS}
    tried |= {name.split()[0] for name in CALLS if name.startswith("Hold.")}
    tried |= {f"Pages.{name.split()[0]}" for name in PAGES}
    tried |= {"Pages.all_sessions", "Pages.all_outcomes"}  # which `sessions`, `outcomes` go through
    assert public - tried == set()
