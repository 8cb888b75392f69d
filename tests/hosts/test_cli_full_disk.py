"""The command on a full disk: what it says, what it does all the same, and how it ends.

A limit on the size of files fails as a full disk does, after as many bytes as we like.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_runs import APP, SECRET, TENANT, Cli, user

from presence_manager.emulator import Emulator

resource = pytest.importorskip("resource", reason="no limits there")

PEOPLE = [user(number) for number in range(30)]
OPENS = 40_000
"""Bytes to which a file may grow so that a ledger opens, and its log is soon full."""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000, apps={APP: SECRET}) as emulator:
        for name in PEOPLE:
            emulator.put_session(TENANT, APP, name)
        yield emulator


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no process that is started meanwhile make a file larger than that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte of its own, where that can be had."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


async def test_where_the_ledger_cannot_be_opened_nothing_is_sent(
    disk: Path, emulator: Emulator
) -> None:
    cli = Cli(disk, emulator)
    users = cli.file(*PEOPLE)
    fill(disk)
    run = await cli.run("clear", "--users", users)
    assert (run.status, run.out) == (2, "")
    assert f"the ledger {cli.ledger} cannot grow: the disk is full" in run.err
    assert "nothing was changed in it. Make room on that disk and try again." in run.err
    assert len(emulator.sessions()) == len(PEOPLE)
    (disk / "filler").unlink()
    assert (await cli.run("clear", "--users", users)).status == 0
    for name in PEOPLE:
        emulator.put_session(TENANT, APP, name)
    fill(disk)
    run = await cli.run("clear", "--users", users)
    assert (run.status, run.out) == (2, "")
    assert "nothing was changed in it. Check the disk: it may be full, failing or gone." in run.err
    assert len(emulator.sessions()) == len(PEOPLE)


async def test_a_disk_that_is_full_in_mid_run_does_not_keep_people_shown(
    tmp_path: Path, emulator: Emulator
) -> None:
    cli = Cli(tmp_path, emulator)
    assert (await cli.run("sessions", "--json")).status == 0
    users = cli.file(*PEOPLE)
    with at_most(OPENS):
        run = await cli.run("clear", "--users", users, "--json")
    assert run.status == 0
    assert emulator.sessions() == []
    assert run.json["counts"] == {"cleared": len(PEOPLE)}
    outcomes = run.json["outcomes"]
    assert sorted(outcome["user"] for outcome in outcomes) == PEOPLE
    untold = [outcome["user"] for outcome in outcomes if not outcome["recorded"]]
    assert untold
    assert f"warning: {len(untold)} outcomes could not be written into the ledger" in run.err
    later = await cli.run("recover", "--json")
    assert later.status == 0
    assert later.json["counts"] == {"gone_after_retry": len(untold)}
    assert (await cli.run("sessions", "--json")).json in ([], {"sessions": []})
