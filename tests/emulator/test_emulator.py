"""The emulator as a whole: TLS, starting and stopping, describing itself."""

from __future__ import annotations

import ast
import asyncio
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import aiohttp
import pytest

import presence_manager.emulator
from presence_manager.emulator import (
    DEFAULT_APP,
    DEFAULT_SECRET,
    DEFAULT_TENANT,
    Emulator,
    Fault,
    run,
)

from .client import ALICE, APP, TENANT, Client


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_graph_over_tls(host: str) -> None:
    async with Emulator(tls=True, host=host) as emulator:
        assert emulator.graph_url.startswith("https://")
        assert emulator.authority_url == emulator.graph_url
        trust = ssl.create_default_context(cafile=emulator.ca_file)
        trust.verify_flags |= ssl.VERIFY_X509_STRICT
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            assert (await Client(emulator, session).set()).status == 200


async def test_tls_is_not_trusted_without_its_authority() -> None:
    async with Emulator(tls=True) as emulator, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await Client(emulator, session).set()


async def test_the_certificates_are_gone_at_the_end() -> None:
    async with Emulator() as emulator:
        path = Path(emulator.ca_file)
        assert path.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert not path.parent.exists()


async def test_plain_and_secret_ports_differ() -> None:
    async with Emulator() as emulator:
        assert emulator.graph_url.startswith("http://127.0.0.1:")
        assert emulator.authority_url.startswith("https://127.0.0.1:")
        assert emulator.authority_url.rpartition(":")[2] != emulator.graph_url.rpartition(":")[2]


def test_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Emulator(host="0.0.0.0")


async def test_nothing_before_it_is_entered() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError):
        await emulator.start()
    with pytest.raises(RuntimeError):
        _ = emulator.ca_file


async def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    async with Emulator() as first:
        port = int(first.graph_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with Emulator(port=port):
                pass


async def test_it_can_go_away_and_come_back(
    emulator: Emulator, graph: Client, session: aiohttp.ClientSession
) -> None:
    await graph.set()
    url = emulator.graph_url
    await emulator.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await graph.set()
    await emulator.start()
    assert emulator.graph_url == url
    assert len(emulator.sessions()) == 1
    assert (await graph.clear()).status == 200


async def test_stopping_does_not_wait_for_what_hangs(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(effect="hang"))
    hanging = asyncio.ensure_future(graph.set())
    while not emulator.operations:
        await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        await emulator.stop()
    with pytest.raises(aiohttp.ClientError):
        await hanging


async def test_behind_anyones_back(emulator: Emulator, graph: Client) -> None:
    emulator.put_session(TENANT, APP, ALICE, lease=60)
    assert await graph.shown() == ("Busy", "InACall")
    assert emulator.presence(TENANT, ALICE) == ("Busy", "InACall")
    assert emulator.drop_session(TENANT, APP, ALICE)
    assert not emulator.drop_session(TENANT, APP, ALICE)
    assert (await graph.clear()).status == 404
    emulator.put_session(TENANT, APP, ALICE, lease=60)
    emulator.move_clock(60)
    assert emulator.sessions() == []
    with pytest.raises(ValueError, match="forward"):
        emulator.move_clock(-1)


async def test_sessions_show_as_they_have_faded(emulator: Emulator, graph: Client) -> None:
    await graph.set(availability="Available", activity="Available", expirationDuration="PT4H")
    seen = []
    for _ in range(3):
        seen += [(s.availability, s.activity) for s in emulator.sessions()]
        emulator.move_clock(300)
    assert seen == [
        ("Available", "Available"),
        ("Available", "AvailableInactive"),
        ("Away", "Away"),
    ]


async def test_latency_comes_after_judging(session: aiohttp.ClientSession) -> None:
    async with Emulator(latency=30.0) as emulator:
        graph = Client(emulator, session)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await graph.set()
        [entry] = emulator.journal
        assert (entry.applied, entry.answered) == (True, False)


async def test_run_serves_until_it_is_told_to_stop() -> None:
    stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seen: list[Emulator] = []

    def ready(emulator: Emulator) -> None:
        seen.append(emulator)
        stop.set_result(None)

    await run(ready=ready, stop=stop, limit=5)
    [emulator] = seen
    assert emulator.graph_url.startswith("http://")


async def test_it_says_how_to_reach_it(session: aiohttp.ClientSession) -> None:
    async with Emulator() as emulator:
        text = emulator.describe()
        lines = [line.removeprefix("# ") for line in text.splitlines() if "export " in line]
        values = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        token = values.pop("PRESENCE_ACCESS_TOKEN")
        assert values == emulator.environment()
        assert values == {
            "PRESENCE_GRAPH__BASE_URL": emulator.graph_url,
            "PRESENCE_GRAPH__AUTHORITY": emulator.authority_url,
            "PRESENCE_GRAPH__CA_FILE": emulator.ca_file,
            "PRESENCE_TENANT_ID": DEFAULT_TENANT,
            "PRESENCE_CLIENT_ID": DEFAULT_APP,
            "PRESENCE_CLIENT_SECRET": DEFAULT_SECRET,
        }
        graph = Client(emulator, session, token)
        assert (await graph.set(sessionId=DEFAULT_APP)).status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_the_command_serves_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "presence_manager.emulator"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        base = next(line for line in lines if "BASE_URL" in line).strip().partition("=")[2]
        with urllib.request.urlopen(f"{base}/_emulator/ready") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(10) == 0


def test_it_imports_nothing_else_of_this_project() -> None:
    for path in Path(presence_manager.emulator.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2, path
                assert not (node.module or "").startswith("presence_manager"), path
            elif isinstance(node, ast.Import):
                assert not any(a.name.startswith("presence_manager") for a in node.names), path
