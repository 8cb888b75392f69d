"""What systemd is told, on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from presence_manager.core.outcome import Progress
from presence_manager.hosts import systemd as module
from presence_manager.hosts.systemd import Systemd
from presence_manager.manager.status import LaneStatus, Status

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd has such sockets")

LANE = LaneStatus(
    tenant="t",
    held=5,
    waiting=3,
    due=2,
    late=0.0,
    in_flight=1,
    sent=0,
    refused=0,
    budget=20,
    used=0,
    window=30.0,
    closed_for=0.0,
)
OPEN = Status(state="open", owner="o", holds=7, lanes=(LANE, LANE))
CLOSING = Status(state="closing", owner="o", holds=7, lanes=())


class Heard:
    """The service manager's side."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address}

    def all(self) -> list[list[str]]:
        """Each message that has come, by its lines."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found


@pytest.fixture(
    params=[
        "file",
        pytest.param(
            "abstract", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
        ),
    ]
)
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heard]:
    of_file = request.param == "file"
    heard = Heard(str(tmp_path / "notify") if of_file else f"@presence-manager/{os.getpid()}")
    yield heard
    heard.socket.close()


def progress(done: int) -> Progress:
    return Progress(sweep_id="s", taken=10, done=done, counts={}, seconds=1.0, all_taken=False)


def test_its_words(heard: Heard) -> None:
    environ = heard.environ | {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    systemd = Systemd(environ)
    assert environ == {}
    assert systemd.watchdog == 2.0
    systemd.ready(OPEN)
    systemd.reloading()
    systemd.closing(None)
    ready, reloading, stopping = heard.all()
    counts = "STATUS=10 sessions held, 4 renewals due, 2 requests in flight"
    assert ready == ["READY=1", counts]
    assert reloading[0] == "RELOADING=1"
    assert int(reloading[1].removeprefix("MONOTONIC_USEC=")) > 0
    assert stopping == ["STOPPING=1", "STATUS=closing"]


def test_more_time_is_asked_for_only_while_the_sweep_makes_progress(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    systemd = Systemd(heard.environ)
    told = []
    for now, done in [(100.0, 0), (101.0, 3), (101.9, 4), (102.0, 4), (110.0, 4), (111.0, 5)]:  # noqa: B007
        systemd.closing(progress(done))
        told.append(len(heard.all()))
    assert told == [0, 1, 0, 1, 0, 1]
    systemd.closing(progress(5))
    now = 120.0
    systemd.closing(progress(6))
    assert heard.all() == [["EXTEND_TIMEOUT_USEC=30000000", "STATUS=clearing: 6 of 10 done"]]


async def test_the_watchdog_hears_nothing_while_a_part_hangs(heard: Heard) -> None:
    systemd = Systemd(heard.environ | {"WATCHDOG_USEC": "20000"})
    hangs = asyncio.Event()
    looks = [OPEN, OPEN, CLOSING]

    async def alive() -> None:
        if not looks:
            hangs.set()
            await asyncio.Future()

    watching = asyncio.create_task(systemd.watch(alive, lambda: looks.pop(0)))
    async with asyncio.timeout(5.0):
        await hangs.wait()
    assert [words[0] for words in heard.all()] == ["WATCHDOG=1"] * 3
    watching.cancel()
    await asyncio.wait({watching})


@pytest.mark.parametrize(
    "given",
    [
        {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
)
async def test_a_watchdog_that_is_not_ours(heard: Heard, given: dict[str, str]) -> None:
    systemd = Systemd(heard.environ | given)
    assert systemd.watchdog is None
    await systemd.watch(asyncio.Future, lambda: OPEN)
    assert heard.all() == []


def test_nobody_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Systemd({}).ready(OPEN)
    assert capfd.readouterr().out == ""
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready(OPEN)
    assert "systemd.not_told" in capfd.readouterr().out
