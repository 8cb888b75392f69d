"""`presence-manager doctor` as a process: its lines, its JSON, its exit status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_runs import APP, SECRET, TENANT, Cli, user
from doctor_rounds import complaints

from presence_manager.emulator import Emulator
from presence_manager.hosts.cli.doctor import status_of
from presence_manager.hosts.cli.running import Status
from presence_manager.hosts.doctor.finding import fail, ok, skipped, warn

FIELDS = ["name", "state", "says", "do"]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000, apps={APP: SECRET}) as emulator:
        yield emulator


@pytest.fixture
def cli(tmp_path: Path, emulator: Emulator) -> Cli:
    return Cli(
        tmp_path,
        emulator,
        PRESENCE_ACCESS_TOKEN="",
        PRESENCE_CLIENT_SECRET=SECRET,
        PRESENCE_GRAPH__AUTHORITY=emulator.authority_url,
        PRESENCE_GRAPH__CA_FILE=emulator.ca_file,
    )


async def test_a_line_for_each_check(cli: Cli) -> None:
    run = await cli.run("doctor")
    assert (run.status, complaints(run)) == (0, [])
    lines = run.out.splitlines()
    assert [line.split()[1] for line in lines] == [
        *("settings", "graph", "authority", "clock", "sign-in", "token", "permission"),
        *("ledger", "place", "space"),
    ]
    assert {line.split()[0] for line in lines} <= {"ok", "warn"}


async def test_json_has_the_same(cli: Cli, emulator: Emulator) -> None:
    run = await cli.run("doctor", "--json", "--user", user(1), "--as", "Away/Away")
    assert (run.status, complaints(run)) == (0, [])
    said = run.json
    assert list(said) == ["ok", "status", "findings"]
    assert (said["ok"], said["status"]) == (True, 0)
    assert all(list(finding) == FIELDS for finding in said["findings"])
    assert [f["name"] for f in said["findings"]][-3:] == ["set", "read-back", "clear"]
    assert emulator.sessions() == []


async def test_a_check_that_fails_is_status_1(cli: Cli, emulator: Emulator) -> None:
    cli.environment["PRESENCE_ACCESS_TOKEN"] = emulator.token(TENANT, APP, roles=["User.Read"])
    cli.environment["PRESENCE_CLIENT_SECRET"] = ""
    run = await cli.run("doctor")
    assert (run.status, complaints(run)) == (1, [])
    line = next(line for line in run.out.splitlines() if line.startswith("fail"))
    assert "permission" in line
    assert "lacks the role Presence.ReadWrite.All" in line
    assert " -> grant the application permission Presence.ReadWrite.All" in line


async def test_settings_that_are_wrong_are_status_2(cli: Cli) -> None:
    cli.environment |= {"PRESENCE_GRPH__BUDGET": "5", "PRESENCE_HOLD__LEASE": "5"}
    run = await cli.run("doctor")
    assert (run.status, complaints(run)) == (2, [])
    lines = run.out.splitlines()
    assert [line.split()[:2] for line in lines] == [["fail", "settings"]] * 2
    assert "did you mean PRESENCE_GRAPH__BUDGET" in run.out
    assert "PRESENCE_HOLD__LEASE: '5' is not accepted" in run.out
    del cli.environment["PRESENCE_GRPH__BUDGET"], cli.environment["PRESENCE_HOLD__LEASE"]
    cli.environment |= {"PRESENCE_CLIENT_SECRET": "", "PRESENCE_GRAPH__CA_FILE": "missing.pem"}
    run = await cli.run("doctor", "--json")
    assert (run.status, run.json["status"], run.json["ok"]) == (2, 2, False)
    told = [finding["says"] for finding in run.json["findings"]]
    assert len(told) == 2
    assert "missing.pem" in told[0]
    assert "nothing to sign in with" in told[1]


async def test_no_sign_in_is_status_3(cli: Cli) -> None:
    cli.environment["PRESENCE_CLIENT_SECRET"] = "wrong"
    run = await cli.run("doctor")
    assert (run.status, complaints(run)) == (3, [])
    assert "AADSTS7000215" in run.out


async def test_wrong_usage_is_status_2(cli: Cli) -> None:
    cli.environment["PRESENCE_TENANT_ID"] = ""
    await cli.each(
        {
            ("--as", "Busy/Busy"): "--as: 'Busy/Busy' cannot be set by an application",
            ("--user", user(1)): "name the user's tenant with --tenant",
        },
        "doctor",
    )


def test_what_the_findings_come_to() -> None:
    good, bad = ok("sign-in", "a"), fail("sign-in", "b", "do")
    other = fail("ledger", "c", "do")
    assert status_of([good, warn("held", "d", "do"), skipped("token", "e")]) is Status.DONE
    assert status_of([skipped("sign-in", "f")]) is Status.DONE
    assert status_of([good, bad]) is Status.PROBLEMS
    assert status_of([good, other]) is Status.PROBLEMS
    assert status_of([bad, bad, other]) is Status.NO_SIGN_IN
