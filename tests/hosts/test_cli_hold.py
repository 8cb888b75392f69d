"""`presence-manager hold`, `sessions`, `outcomes`, `recover`: a hold's life from the shell."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_runs import APP, TENANT, Cli, ended, user

from presence_manager.emulator import Emulator, Fault


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
def cli(tmp_path: Path, emulator: Emulator) -> Cli:
    return Cli(tmp_path, emulator)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_it_holds_until_a_signal(cli: Cli, emulator: Emulator, number: int) -> None:
    async with cli.start("hold", user(1), "Busy", "InACall") as process:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line == f"{user(1)} is shown as Busy/InACall, and renewed; Ctrl-C releases\n"
        assert emulator.presence(TENANT, user(1)) == ("Busy", "InACall")
        process.send_signal(number)
        run = await ended(process)
    assert (run.status, run.out) == (0, "released: cleared\n")
    assert emulator.sessions() == []


async def test_a_release_that_is_not_known_is_not_called_one(cli: Cli, emulator: Emulator) -> None:
    cli.environment |= {"PRESENCE_RELEASE__TIMEOUT": "1", "PRESENCE_SHUTDOWN__DEADLINE": "1"}
    async with cli.start("hold", user(1), "Busy", "--json") as process:
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["state"] == "shown"
        emulator.add_fault(Fault(verb="clear", effect="hang"))
        process.send_signal(signal.SIGINT)
        run = await ended(process)
    assert run.status == 1
    assert run.json == {"user": user(1), "state": "ended", "outcome": "unfinished"}
    assert "`presence-manager recover` sees to it" in run.err


async def test_a_hold_for_a_while_outlives_the_command(cli: Cli, emulator: Emulator) -> None:
    run = await cli.run("hold", user(1), "Busy", "--for", "30m", "--key", "lunch", "--json")
    assert run.status == 0
    (session,) = emulator.sessions()
    assert session.expires_at - session.set_at == 1800

    run = await cli.run("recover")
    assert (run.status, run.out[:18]) == (0, "nothing to recover")
    run = await cli.run("sessions", "--json")
    (row,) = run.json["sessions"]
    assert (row["user"], row["known"], row["availability"]) == (user(1), "shown", "Busy")
    assert [(hold["key"], hold["owner"]) for hold in row["holds"]] == [("lunch", "")]
    assert len(emulator.sessions()) == 1

    run = await cli.run("clear", "--held")
    assert run.status == 0
    assert emulator.sessions() == []
    run = await cli.run("outcomes", "--user", user(1), "--kind", "cleared", "--since", "1h")
    assert run.status == 0
    assert user(1) in run.out
    assert "1 outcome" in run.err


async def test_what_graph_would_refuse(cli: Cli, emulator: Emulator) -> None:
    await cli.each(
        {
            (user(1), "Busy", "Dancing"): "Graph takes Available/Available, Busy/InACall",
            (user(1), "Busy", "--lease", "1m"): "300 s (5 minutes) to 14400 s",
            (user(1), "Busy", "--for", "5h"): "--for 5h: Graph keeps a session for up to 4 h",
            (user(1), "Busy", "--for", "1h", "--lease", "1h"): "only one of them",
            ("anna@example.com", "Busy"): "users are GUIDs, not names",
            (user(1), "Busy", "--tenant", "x"): "--tenant: 'x' is not a tenant id",
        },
        "hold",
    )
    assert emulator.requests == 0


async def test_what_graph_refuses(cli: Cli, emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="set", status=403, code="Forbidden"))
    run = await cli.run("hold", user(1), "Busy")
    assert (run.status, run.out) == (1, "")
    assert "Graph refused to show user" in run.err
    assert "403 Forbidden" in run.err
    assert "Presence.ReadWrite.All" in run.err


async def test_reading_needs_no_credential(cli: Cli, emulator: Emulator) -> None:
    cli.environment["PRESENCE_ACCESS_TOKEN"] = ""
    for words in (["sessions", "--json"], ["outcomes", "--csv"]):
        assert (await cli.run(*words)).status == 0
    assert emulator.requests == 0


async def test_the_holds_of_a_killed_command_are_recovered(cli: Cli, emulator: Emulator) -> None:
    async with cli.start("hold", user(1), "Away") as process:
        assert process.stdout is not None
        await process.stdout.readline()
        process.kill()
        await process.wait()
    emulator.put_session(TENANT, APP, user(9))
    run = await cli.run("recover", "--deadline", "30s", "--json")
    assert run.status == 0
    assert [(o["user"], o["kind"]) for o in run.json["outcomes"]] == [(user(1), "cleared")]
    assert [session.user for session in emulator.sessions()] == [user(9)]


async def test_a_question_that_makes_no_sense(cli: Cli) -> None:
    await cli.each(
        {
            ("--kind", "lost"): "--kind: there is no 'lost'; the kinds are cleared, already_gone",
            ("--since", "x"): "--since: 'x' is not a time; write 2h",
            ("--user", "x"): "'x' is not a user id",
            ("--json", "--csv"): "only one of them",
        },
        "outcomes",
    )
