"""A daemon in this process, stopped by an awaitable or by signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from host_runs import host_settings, remembered, running, user, variables

from presence_manager import LedgerUnusable, PresenceManager
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.daemon import run_until_stopped

posix = pytest.mark.skipif(sys.platform == "win32", reason="there is no signal to send oneself")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


class Work:
    """Holds one user, says that it does, and waits to be cancelled."""

    def __init__(self) -> None:
        self.holding = asyncio.Event()
        self.cancelled = False

    async def __call__(self, presence: PresenceManager) -> None:
        await presence.hold(user(1), "Busy")
        self.holding.set()
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


async def test_stopped_by_an_awaitable_it_touches_no_signal(emulator: Emulator) -> None:
    before = handlers()
    work = Work()
    stop = asyncio.Event()
    daemon = asyncio.create_task(run_until_stopped(host_settings(emulator), work, stop=stop.wait()))
    await work.holding.wait()
    assert handlers() == before
    stop.set()
    assert await daemon == 0
    assert work.cancelled
    assert emulator.sessions() == []


async def test_a_future_of_the_callers_is_left_alone(emulator: Emulator) -> None:
    async def work(presence: PresenceManager) -> None:
        await presence.hold(user(1), "Busy")

    stop = asyncio.get_running_loop().create_future()
    assert await run_until_stopped(host_settings(emulator), work, stop=stop) == 0
    assert not stop.done()
    assert emulator.sessions() == []


async def test_without_work_it_recovers_and_waits(emulator: Emulator) -> None:
    stop = asyncio.Event()
    stop.set()
    assert await run_until_stopped(host_settings(emulator), stop=stop.wait()) == 0


async def test_what_is_not_known_to_be_gone_is_exit_status_1(
    emulator: Emulator, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.db"
    work = Work()
    stop = asyncio.Event()
    daemon = asyncio.create_task(
        run_until_stopped(host_settings(emulator, ledger), work, stop=stop.wait(), deadline=0.2)
    )
    await work.holding.wait()
    emulator.add_fault(Fault(verb="clear", effect="hang"))
    stop.set()
    assert await daemon == 1
    assert remembered(ledger) == {user(1)}


async def test_what_the_work_raises_comes_after_the_sweep(emulator: Emulator) -> None:
    async def work(presence: PresenceManager) -> None:
        await presence.hold(user(1), "Busy")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_until_stopped(host_settings(emulator), work, stop=asyncio.Event().wait())
    assert emulator.sessions() == []


async def test_what_the_stop_raises_comes_after_the_sweep(emulator: Emulator) -> None:
    work = Work()

    async def stop() -> None:
        await work.holding.wait()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_until_stopped(host_settings(emulator), work, stop=stop())
    assert emulator.sessions() == []
    assert work.cancelled


async def test_what_the_work_raises_on_its_way_out_is_raised(emulator: Emulator) -> None:
    holding = asyncio.Event()

    async def work(presence: PresenceManager) -> None:
        holding.set()
        try:
            await asyncio.Future()
        finally:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_until_stopped(host_settings(emulator), work, stop=holding.wait())


async def test_work_that_does_not_end_is_exit_status_1(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("presence_manager.hosts.daemon.LAST_WORD", 0.05)
    holding, enough = asyncio.Event(), asyncio.Event()

    async def work(presence: PresenceManager) -> None:
        holding.set()
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            await enough.wait()

    status = await run_until_stopped(host_settings(emulator), work, stop=holding.wait())
    assert status == 1
    enough.set()
    await asyncio.sleep(0)


async def test_cancelled_it_stops_and_cancelled_again_it_hurries(
    emulator: Emulator, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.db"
    for hangs in (False, True):
        work = Work()
        daemon = asyncio.create_task(
            run_until_stopped(
                host_settings(emulator, ledger),
                work,
                stop=asyncio.Event().wait(),
                deadline=60.0,
            )
        )
        await work.holding.wait()
        if hangs:
            emulator.add_fault(Fault(verb="clear", effect="hang"))
        before = len(emulator.journal)
        daemon.cancel()
        while len(emulator.journal) == before:
            await asyncio.sleep(0.01)
        if hangs:
            daemon.cancel()
        async with asyncio.timeout(2.0):
            await asyncio.wait({daemon})
        assert daemon.cancelled()
        assert len(emulator.sessions()) == hangs
    assert remembered(ledger) == {user(1)}


async def test_a_ledger_that_cannot_be_opened(emulator: Emulator, tmp_path: Path) -> None:
    before = handlers()
    with pytest.raises(LedgerUnusable):
        await run_until_stopped(host_settings(emulator, tmp_path))
    assert handlers() == before


async def test_in_another_thread_it_asks_for_a_stop(emulator: Emulator) -> None:
    def elsewhere() -> None:
        asyncio.run(run_until_stopped(settings))

    settings = host_settings(emulator)
    with pytest.raises(RuntimeError, match="give stop="):
        await asyncio.to_thread(elsewhere)


@posix
@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_it_and_their_handlers_come_back(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, windows: bool, number: int
) -> None:
    if windows:  # whose loops have no handlers for signals
        loop = asyncio.get_running_loop()

        def no(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(loop, "add_signal_handler", no)
        monkeypatch.setattr(loop, "remove_signal_handler", no)
    before = handlers()
    work = Work()
    daemon = asyncio.create_task(run_until_stopped(host_settings(emulator), work))
    await work.holding.wait()
    assert handlers() != before
    os.kill(os.getpid(), number)
    assert await daemon == 0
    assert handlers() == before
    assert emulator.sessions() == []


@posix
async def test_an_ignored_signal_stays_ignored(emulator: Emulator) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work = Work()
        daemon = asyncio.create_task(run_until_stopped(host_settings(emulator), work))
        await work.holding.wait()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGTERM)
        assert await daemon == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


STUBBORN = """
import asyncio, sys
from presence_manager import PresenceManager, Settings
from presence_manager.hosts.daemon import run_until_stopped

async def work(presence: PresenceManager) -> None:
    await presence.hold(sys.argv[1], "Busy")
    print("at work")
    while True:
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            print("goes on regardless")

sys.exit(asyncio.run(run_until_stopped(Settings(), work)))
"""


@posix
async def test_a_third_signal_ends_it_where_it_stands(emulator: Emulator, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    environment = variables(emulator, ledger) | {"PRESENCE_SHUTDOWN__DEADLINE": "60"}
    async with running(STUBBORN, user(1), environment=environment) as child:
        await child.says("at work")
        emulator.add_fault(Fault(verb="clear", effect="hang"))
        child.signal(signal.SIGTERM)
        await child.says("goes on regardless")
        child.signal(signal.SIGTERM)
        await child.says("daemon.hurried")
        child.signal(signal.SIGTERM)
        status, _ = await child.ended()
    assert status == -signal.SIGTERM
    assert remembered(ledger) == {user(1)}
