"""The command as a whole: help, version, settings, emulator, missing extra."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_runs import APP, SECRET, TENANT, Cli, ended, user

from presence_manager.hosts.cli import times
from presence_manager.hosts.cli.running import Wrong


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path, PRESENCE_CLIENT_ID=APP, PRESENCE_CLIENT_SECRET=SECRET)


def python(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_help_names_the_commands_and_the_statuses(cli: Cli) -> None:
    run = await cli.run("--help")
    assert run.status == 0
    for word in ("clear", "hold", "sessions", "outcomes", "recover", "emulator", "demo", "config"):
        assert f"\n  {word} " in run.out
    assert "4 interrupted" in run.out
    assert (await cli.run("--version")).out.startswith("presence-manager 0.")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from presence_manager.hosts.cli import main\n"
        "sys.argv = ['presence-manager', 'clear', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'aiohttp', 'msal', 'pydantic_settings', 'structlog'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "sys.modules['typer'] = None\n"
        "from presence_manager.hosts.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'presence-manager[cli]'" in done.stderr
    assert done.stderr.count("\n") == 1


async def test_config_show_masks_secrets(cli: Cli) -> None:
    run = await cli.run("config", "show")
    assert run.status == 0
    assert "client_secret" in run.out
    assert "********" in run.out
    run = await cli.run("config", "show", "--json")
    shown = {setting["name"]: setting for setting in run.json["settings"]}
    assert shown["client_secret"]["value"] == "********"
    assert shown["client_id"]["source"] == "PRESENCE_CLIENT_ID"
    assert shown["graph.timeout"]["value"] == 10.0


async def test_config_check_has_a_line_for_each_fault(cli: Cli, tmp_path: Path) -> None:
    run = await cli.run("config", "check")
    assert (run.status, run.err) == (0, "")
    assert str(cli.ledger) in run.out
    (tmp_path / "bad.pem").write_text("nothing")
    cli.ledger.write_text("no ledger " * 100)
    cli.environment |= {
        "PRESENCE_TENANT_ID": "contoso.com",
        "PRESENCE_GRAPH__CA_FILE": "bad.pem",
        "PRESENCE_CLIENT_SECRET": "",
        "PRESENCE_CLIENT_CERTIFICATE": "missing.pem",
    }
    run = await cli.run("config", "check")
    assert run.status == 2
    lines = run.err.splitlines()
    assert all(line.startswith("presence-manager: ") for line in lines)
    for text in ("tenant_id:", "bad.pem", "the ledger"):
        assert sum(text in line for line in lines) >= 1, run.err


async def test_debug_shows_where(cli: Cli) -> None:
    cli.environment["PRESENCE_DEBUG"] = "1"
    async with cli.start("clear", "x") as process:
        out, err = await process.communicate()
    assert process.returncode == 2
    assert b"Traceback" in err
    assert SECRET.encode() not in out + err


@pytest.mark.parametrize("tls", [[], ["--tls"]])
async def test_the_emulator_tells_how_to_reach_it(cli: Cli, tls: list[str]) -> None:
    async with cli.start("emulator", *tls) as process:
        assert process.stdout is not None
        said = {}
        while line := (await process.stdout.readline()).decode():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                said[name] = value
            if "PRESENCE_ACCESS_TOKEN" in line:
                break
        other = Cli(cli.folder, **said)
        run = await other.run("clear", user(1), "--json")
        assert (run.status, run.json["counts"]) == (0, {"already_gone": 1})
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).status == 0


async def test_the_emulator_on_a_port_that_is_taken(cli: Cli) -> None:
    async with cli.start("emulator") as process:
        assert process.stdout is not None
        port = (await process.stdout.readline()).decode().strip().rpartition(":")[2]
        run = await cli.run("emulator", "--port", port)
    assert run.status == 2
    assert f"cannot listen on 127.0.0.1:{port}" in run.err


async def test_the_emulator_is_for_this_machine_only(cli: Cli) -> None:
    run = await cli.run("emulator", "--host", "0.0.0.0")
    assert run.status == 2
    assert "--host: the emulator listens on loopback only" in run.err


async def test_logs_go_to_stderr_when_asked_for(cli: Cli) -> None:
    cli.environment |= {"PRESENCE_TENANT_ID": TENANT, "PRESENCE_GRAPH__BASE_URL": "http://[::1]:1"}
    cli.environment |= {"PRESENCE_RETRY__ATTEMPTS": "1", "PRESENCE_CLIENT_SECRET": ""}
    cli.environment["PRESENCE_ACCESS_TOKEN"] = "abcdefghijklmnop"
    quiet = await cli.run("clear", user(1), "--json")
    assert '"event"' not in quiet.err
    loud = await cli.run("--verbose", "clear", user(1), "--json")
    assert '"sweep.done"' in loud.err
    assert json.loads(loud.out)["ok"] is False


def test_durations_and_instants() -> None:
    assert [times.seconds(text, "--x") for text in ("90", "90s", "1.5m", "2h", "1 d")] == [
        *(90.0, 90.0, 90.0, 7200.0, 86400.0)
    ]
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    assert times.instant("2h", "--x", now).hour == 10
    assert times.instant("2026-11-24T09:30:00+01:00", "--x") == datetime(
        2026, 11, 24, 8, 30, tzinfo=UTC
    )
    for text in ("", "-1", "1w", "x" * 100, "1e9"):
        with pytest.raises(Wrong):
            times.seconds(text, "--x")
    assert times.iso(float("inf")) is None
    assert times.iso(0.0) == "1970-01-01T00:00:00.000Z"
