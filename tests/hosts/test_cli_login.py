"""`presence-manager login` and `logout`, as processes, at a platform that gives device codes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import APP, TENANT, Cli, ended, until
from graph.token_server import TokenServer, refused, user_reply

ANNA = "5e000000-0000-4000-8000-000000000001"


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@pytest.fixture
def cli(tmp_path: Path, server: TokenServer) -> Cli:
    return Cli(
        tmp_path,
        PRESENCE_CLIENT_ID=APP,
        PRESENCE_TENANT_ID=TENANT,
        PRESENCE_DELEGATED="file",
        PRESENCE_GRAPH__AUTHORITY=server.url,
        PRESENCE_GRAPH__CA_FILE=str(server.ca_file),
        PRESENCE_LOGS__LEVEL="debug",
        XDG_STATE_HOME=str(tmp_path),
    )


async def test_in_and_out(cli: Cli, server: TokenServer) -> None:
    server.script += [user_reply(ANNA, "anna@contoso.com")]
    run = await cli.run("--verbose", "login")
    assert (run.status, run.out) == (0, f"signed in as anna@contoso.com, user id {ANNA}\n")
    assert (
        "Open https://microsoft.com/devicelogin in a browser and enter the code ABC-DEF within "
        "15 minutes." in run.err
    )
    assert "planted" not in run.err
    kept = cli.folder / "presence-manager" / "sign-in.json"
    assert "planted-refresh" in kept.read_text()
    run = await cli.run("logout")
    assert (run.status, run.out) == (0, "signed out on this machine\n")
    assert "planted" not in kept.read_text() + run.err


async def test_a_refusal_and_an_interruption(cli: Cli, server: TokenServer) -> None:
    pending = refused(70016, "authorization_pending", "Not yet")
    declined = refused(70000, "authorization_declined", "The user said no")
    server.script += [declined]
    run = await cli.run("login")
    assert (run.status, run.out) == (3, "")
    assert "said no" in run.err
    server.script += [pending] * 60
    async with cli.start("login") as process:
        await until(lambda: len(server.forms) > 1)
        process.send_signal(signal.SIGINT)
        run = await ended(process)
    assert (run.status, run.out) == (4, "")
    assert "interrupted: nobody is signed in by this\n" in run.err


async def test_without_the_setting_it_says_what_to_set(cli: Cli) -> None:
    del cli.environment["PRESENCE_DELEGATED"]
    await cli.each({("login",): "PRESENCE_DELEGATED to keyring", ("logout",): "PRESENCE_DELEGATED"})
