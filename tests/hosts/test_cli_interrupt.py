"""A signal during `clear`: it stops, says where it stands, loses nothing, and can go on."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import APP, TENANT, Cli, ended, until, user

from presence_manager.emulator import Emulator, Fault


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000) as emulator:
        yield emulator


@pytest.fixture
def cli(tmp_path: Path, emulator: Emulator) -> Cli:
    return Cli(tmp_path, emulator, PRESENCE_GRAPH__TIMEOUT="60")


def rows(cli: Cli) -> set[str]:
    """The users of which the ledger knows."""
    with closing(sqlite3.connect(f"file:{cli.ledger}?mode=ro", uri=True)) as ledger:
        return {name for (name,) in ledger.execute("select user from sessions")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_is_taken_in_stays_and_is_recovered(
    cli: Cli, emulator: Emulator, number: int
) -> None:
    people = [user(n) for n in range(300)]
    for name in people:
        emulator.put_session(TENANT, APP, name)
    emulator.add_fault(Fault(verb="batch", effect="hang", after=5))
    async with cli.start("clear", "--users", cli.file(*people)) as process:
        await until(lambda: emulator.requests >= 13)
        process.send_signal(number)
        run = await ended(process)
    assert run.status == 4
    assert re.search(
        r"interrupted after .*: 100 of 300 are done, 200 more were taken in and are "
        r"left: they are in the ledger, and `presence-manager recover` goes",
        run.err,
    )
    assert "--from-line" not in run.err
    left = rows(cli)
    assert len(left) == 200
    assert left >= {session.user for session in emulator.sessions()}

    emulator.clear_faults()
    run = await cli.run("recover", "--json")
    assert run.status == 0
    assert sum(run.json["counts"].values()) == 200
    assert (emulator.sessions(), rows(cli)) == ([], set())


async def test_it_goes_on_with_the_line_it_names(cli: Cli, emulator: Emulator) -> None:
    """A long file is not read to its end when the signal comes."""
    people = [user(n) for n in range(300_000)]
    lines = ["", *people]
    emulator.add_fault(Fault(verb="batch", effect="hang"))
    file = cli.file(*lines)
    async with cli.start("clear", "--users", file, "--json") as process:
        await until(lambda: cli.ledger.exists() and len(rows_or_none(cli)) >= 1_000)
        process.send_signal(signal.SIGINT)
        run = await ended(process)
    assert run.status == 4
    line = int(re.search(r"--from-line (\d+)$", run.err.strip())[1])  # type: ignore[index]
    taken = rows(cli)
    assert set(lines[1 : line - 1]) == taken
    assert (run.json["left"], run.json["from_line"], run.json["ok"]) == (len(taken), line, False)

    emulator.clear_faults()
    seen = len(emulator.journal)
    Path(file).write_text("\n".join(lines[: line + 199]))
    run = await cli.run("clear", "--users", file, "--from-line", str(line), "--json")
    assert run.status == 0
    assert {entry.user for entry in emulator.journal[seen:]} == set(lines[line - 1 : line + 199])
    assert rows(cli) == taken


def rows_or_none(cli: Cli) -> set[str]:
    try:
        return rows(cli)
    except sqlite3.OperationalError:
        return set()


async def test_a_second_signal_hurries(cli: Cli, emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="batch", effect="hang"))
    async with cli.start("clear", "--users", cli.file(*map(user, range(60)))) as process:
        await until(lambda: emulator.requests)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        run = await ended(process)
    assert run.status == 4
    assert "60 more were taken in" in run.err
    assert len(rows(cli)) == 60


async def test_while_the_users_are_read_nothing_is_done(cli: Cli, emulator: Emulator) -> None:
    pipe = cli.folder / "pipe"
    os.mkfifo(pipe)
    async with cli.start("clear", "--users", str(pipe)) as process:
        writer = await asyncio.to_thread(pipe.open, "wb")  # returns when the command reads
        with writer:
            process.send_signal(signal.SIGTERM)
            run = await ended(process)
    assert (run.status, run.err) == (4, "interrupted\n")
    assert (emulator.requests, cli.ledger.exists()) == (0, False)
