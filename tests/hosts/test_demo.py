"""The demo: it agrees with itself, notices when it does not, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Cli, ended

from presence_manager.hosts.demo import PEOPLE, _disagreements


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "tmp").mkdir()
    return Cli(tmp_path, TMPDIR=str(tmp_path / "tmp"))


async def test_it_ends_well_and_leaves_nothing(cli: Cli) -> None:
    run = await cli.run("demo")
    assert run.status == 0, run.out
    assert "288 cleared, 12 already gone" in run.out
    assert re.search(r"there were [3-9]\d\d renewals", run.out)
    assert "They agree: nobody is left." in run.out
    assert list((cli.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_its_processes_end_with_it(cli: Cli, number: int) -> None:
    async with cli.start("demo") as process:
        assert process.stdout is not None
        port = 0
        # From then on it waits for its bot; a finalizer, amid requests, may swallow the signal.
        while b"It starts again" not in (line := await process.stdout.readline()):
            assert line
            if found := re.search(rb"https://127\.0\.0\.1:(\d+)", line):
                port = int(found[1])
        process.send_signal(number)
        run = await ended(process)
    assert (run.status, run.err) == (4, "interrupted\n")
    assert list((cli.folder / "tmp").iterdir()) == []
    assert not _listens(port)


async def test_its_processes_end_even_when_it_is_killed(cli: Cli) -> None:
    async with cli.start("demo") as process:
        assert process.stdout is not None
        while not (found := re.search(rb":(\d+), with TLS", await process.stdout.readline())):
            pass
        process.kill()
        await process.wait()
        async with asyncio.timeout(20):
            while _listens(int(found[1])):
                await asyncio.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def line(user: str, status: int | None, **changes: Any) -> dict[str, Any]:
    return {"verb": "clear", "user": user, "status": status, "answered": True} | changes


def test_it_notices_every_disagreement() -> None:
    users = [name for _, name in PEOPLE]
    lines = [line(name, 200) for name in users]
    good: dict[str, Any] = {"ok": True, "counts": {"cleared": len(users)}}
    assert _disagreements(good, lines, []) == []
    assert len(_disagreements(good, lines, [{"user": users[0]}])) == 2
    assert len(_disagreements(good, lines[1:], [])) == 1
    one_gone = [line(users[0], 404), *lines[1:]]
    assert len(_disagreements(good, one_gone, [])) == 2
    told_so = {"ok": True, "counts": {"cleared": len(users) - 1, "already_gone": 1}}
    assert _disagreements(told_so, one_gone, []) == []
    doubt = [line(users[0], None, answered=False), *one_gone]
    assert len(_disagreements(told_so, doubt, [])) == 2
    unknown = {"ok": False, "counts": {"cleared": len(users) - 1, "unfinished": 1}}
    assert _disagreements(unknown, lines[1:], []) != []
