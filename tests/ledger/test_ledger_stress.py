"""A real manager on a real ledger that is in trouble: nothing is forgotten, and people are cleared.

The same cases without a manager are in test_ledger_files.py, the rules in engine/test_unrecorded.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from presence_manager import (
    HoldFailed,
    HoldRequest,
    Kind,
    LedgerError,
    Outcome,
    PresenceManager,
    Settings,
)
from presence_manager.clock import SystemClock
from presence_manager.emulator import Emulator, Fault
from presence_manager.ledger import SqliteLedger

TENANT = "7a000000-0000-4000-8000-000000000001"
APP = "7a000000-0000-4000-8000-00000000000a"
_CHILD = Path(__file__).with_name("stress_child.py")


def user(number: int) -> str:
    return str(UUID(int=0x5E << 120 | 4 << 76 | 2 << 62 | number))


USERS = [user(number) for number in range(30)]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


def manager(emulator: Emulator, path: Path, **more: Any) -> PresenceManager:
    settings = Settings(
        tenant_id=TENANT,
        client_id=APP,
        access_token=emulator.token(TENANT, APP),
        graph={"base_url": emulator.graph_url, "timeout": 2.0},  # type: ignore[arg-type]
        retry={"settle": 0.05, "first_wait": 0.01},  # type: ignore[arg-type]
    )
    return PresenceManager(settings, ledger=SqliteLedger(path, busy_timeout=0.2), **more)


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Fill the disk to the last byte."""
    filler = path.with_name("filler")
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
        yield
    filler.unlink()


@contextmanager
def gone(path: Path) -> Iterator[None]:
    """Remove the file while it is open."""
    aside = path.with_name("aside")
    path.rename(aside)
    yield
    aside.rename(path)


@contextmanager
def replaced(path: Path) -> Iterator[None]:
    """Put another file in its place."""
    with gone(path):
        path.write_bytes(b"")
        yield
        path.unlink()


@contextmanager
def journal_gone(path: Path) -> Iterator[None]:
    """Remove the file that the commits go to."""
    with gone(path.with_name(path.name + "-wal")):
        yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let another process keep the write lock."""
    with subprocess.Popen(
        [sys.executable, str(_CHILD), "lock", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        yield
        other.communicate("\n")


@asynccontextmanager
async def troubled(
    trouble: Callable[[Path], AbstractAsyncContextManager[None] | Any], presence: PresenceManager
) -> AsyncIterator[None]:
    ledger: Any = presence._ledger
    if trouble is read_only:
        await read_only(ledger, True)
        yield
        if ledger._process is not None:
            await read_only(ledger, False)
        return
    with trouble(ledger.path):
        yield


async def read_only(ledger: Any, on: bool) -> None:
    """Let no statement write any more."""
    await ledger._run(
        lambda db: db.connection.execute(f"PRAGMA query_only = {int(on)}"), writes=False
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of one megabyte, where that can be had."""
    place = tmp_path / "disk"
    place.mkdir()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if not root or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


TROUBLES = [full, gone, replaced, journal_gone, locked, read_only]


@pytest.fixture(params=TROUBLES, ids=lambda trouble: trouble.__name__)
def trouble(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def path(request: pytest.FixtureRequest, trouble: Any, tmp_path: Path) -> Path:
    folder = request.getfixturevalue("disk") if trouble is full else tmp_path
    return Path(folder) / "ledger.db"


async def outcomes(presence: PresenceManager, **which: str) -> list[Outcome]:
    return [outcome async for outcome in presence.outcomes(**which)]  # type: ignore[arg-type]


async def test_a_hold_is_refused_and_graph_not_asked(
    emulator: Emulator, trouble: Any, path: Path
) -> None:
    async with manager(emulator, path) as presence:
        await presence.hold(USERS[0], "Busy")
        asked = len(emulator.journal)
        async with troubled(trouble, presence):
            with pytest.raises(LedgerError, match=r"nothing of this call was saved"):
                await presence.hold(USERS[1], "Busy")
            failed = await presence.hold_many(HoldRequest(one, "Busy") for one in USERS[1:3])
            for each in failed:
                assert isinstance(each, HoldFailed)
                assert isinstance(each.error, LedgerError)
            with pytest.raises(LedgerError, match=r"nothing of this call was saved"):
                await presence.track(USERS[3])
            assert len(emulator.journal) == asked
            assert [session.user for session in emulator.sessions()] == [USERS[0]]
        await presence.hold(USERS[2], "Busy")
    assert emulator.sessions() == []


async def test_the_closing_sweep_clears_all_and_the_next_start_knows(
    emulator: Emulator, trouble: Any, path: Path
) -> None:
    presence = manager(emulator, path)
    await presence.open()
    for one in USERS:
        await presence.hold(one, "Busy")
    async with troubled(trouble, presence):
        report = await presence.close()
    assert emulator.sessions() == []
    assert report is not None
    assert report.counts == {Kind.CLEARED: len(USERS)}
    assert {outcome.user for outcome in report.unrecorded} == set(USERS)
    async with manager(emulator, path) as later:
        assert (await later.recovered()).counts == {Kind.GONE_AFTER_RETRY: len(USERS)}
        assert {o.kind for o in await outcomes(later)} == {Kind.GONE_AFTER_RETRY}


async def test_in_one_process_the_ledger_is_told_later(
    emulator: Emulator, trouble: Any, path: Path
) -> None:
    async with manager(emulator, path) as presence:
        held = [await presence.hold(one, "Busy") for one in USERS[:3]]
        async with troubled(trouble, presence):
            released = await held[0].release()
            cleared = await presence.clear(USERS[1])
            report = await presence.sweep(USERS[2:4])
            assert [released.recorded, cleared.recorded] == [False, False]
            assert [released.kind, cleared.kind] == [Kind.CLEARED, Kind.CLEARED]
            assert report.counts == {Kind.CLEARED: 1, Kind.ALREADY_GONE: 1}
            assert len(report.unrecorded) == 2
            assert emulator.sessions() == []
        async with asyncio.timeout(20.0):
            while [row async for row in presence.sessions()]:
                await asyncio.sleep(0.05)
        kinds = [(o.user, o.kind) for o in await outcomes(presence)]
        assert sorted(kinds) == [(one, Kind.GONE_AFTER_RETRY) for one in USERS[:3]]


async def test_a_damaged_ledger_is_no_reason_to_leave_people_shown(
    emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    presence = manager(emulator, path)
    await presence.open()
    for one in USERS:
        await presence.hold(one, "Busy")
    ledger: Any = presence._ledger
    await ledger._run(lambda db: db.connection.execute("PRAGMA shrink_memory"), writes=False)
    for name in ("ledger.db", "ledger.db-wal"):
        with (tmp_path / name).open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            file.write(b"\xa5" * size)
    with pytest.raises(LedgerError):
        await presence.hold(user(99), "Busy")
    report = await presence.close()
    assert emulator.sessions() == []
    assert report is not None
    assert report.counts == {Kind.CLEARED: len(USERS)}
    assert len(report.unrecorded) == len(USERS)
    assert not report.ok  # nobody can tell what else was in it
    assert "could not be read" in report.note


class Ahead(SystemClock):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ahead = seconds

    def now(self) -> float:
        return super().now() + self._ahead


@pytest.mark.parametrize("days", [1, -1])
async def test_a_clock_set_by_a_day_between_two_starts(
    emulator: Emulator, tmp_path: Path, days: int
) -> None:
    path = tmp_path / "ledger.db"
    before = manager(emulator, path, clock=Ahead(86_400.0 * days))
    await before.open()
    for one in USERS:
        await before.hold(one, "Busy")
    await before.close(sweep=False)
    async with manager(emulator, path) as presence:
        hold = await presence.hold(USERS[0], "Away")  # meanwhile
        report = await presence.recovered()
        assert report.ok
        assert hold.state == "shown"
        assert [session.user for session in emulator.sessions()] == [USERS[0]]
    assert emulator.sessions() == []


@pytest.mark.parametrize("days", [1, -1])
async def test_a_clock_set_by_a_day_in_mid_run(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    real = time.time
    async with manager(emulator, tmp_path / "ledger.db") as presence:
        for one in USERS[:2]:
            await presence.hold(one, "Busy", key="call")
        monkeypatch.setattr(time, "time", lambda: real() + 86_400.0 * days)
        await presence.hold(USERS[0], "Away", key="call")
        brief = await presence.hold(USERS[2], "Busy", ttl=0.3)
        assert len(emulator.sessions()) == 3
        async with asyncio.timeout(5.0):
            while brief.ended != "expired":
                await asyncio.sleep(0.02)
        assert len(emulator.sessions()) == 2
        emulator.add_fault(Fault(effect="hang"))
        before = time.monotonic()
        report = await presence.sweep(deadline=1.0)
        assert time.monotonic() - before < 2.0
        assert report.counts == {Kind.UNFINISHED: 2}
        emulator.clear_faults()
    assert emulator.sessions() == []


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
async def test_a_process_whose_disk_hangs_ends_in_time_and_clears(
    emulator: Emulator, tmp_path: Path
) -> None:
    values = {
        "TENANT_ID": TENANT,
        "CLIENT_ID": APP,
        "ACCESS_TOKEN": emulator.token(TENANT, APP),
        "GRAPH__BASE_URL": emulator.graph_url,
        "LEDGER__URL": f"sqlite:///{tmp_path / 'ledger.db'}",
        "SHUTDOWN__DEADLINE": "6",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_CHILD), "hang", *USERS[:3]),
        env={**os.environ, **{f"PRESENCE_{name}": value for name, value in values.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readuntil(b"holding\n")
        process.send_signal(signal.SIGTERM)
        before = time.monotonic()
        async with asyncio.timeout(20.0):
            told = await process.stdout.read()
            await process.wait()
        assert time.monotonic() - before <= 6.0 + 1.0 + 0.3  # an interpreter with all its checks
        assert told.endswith(b"ended 1\n"), (await process.stderr.read()).decode()  # type: ignore[union-attr]
    finally:
        if process.returncode is None:
            process.kill()
    assert emulator.sessions() == [], told.decode()
    async with manager(emulator, tmp_path / "ledger.db") as later:
        kinds = (await later.recovered()).counts
        assert sum(kinds.values()) == 3
