"""Recognizable secrets through a whole story, and a search through all that it leaves behind.

The command and the daemon run as processes, the library in this one; all log at debug. Each kind
of failure has its turn.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import re
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import aiohttp
import pytest
import structlog
from cli_runs import APP, PYTHON, TENANT, Cli, user
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from presence_manager import PresenceError, PresenceManager, Settings
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts import logs

SECRET = "Planted~client/secret+0x5EC=="
PASSWORD = "planted-key-password-77"
FEDERATED = "planted-workload-assertion-66"
PROXY = "planted-proxy-password-88"
BEARER = "planted-bearer-of-the-daemon-99"
WRONG = "planted-wrong-bearer-of-a-caller"
FAULTS = [
    Fault(verb="clear", status=403, code="Forbidden"),
    Fault(verb="clear", effect="unauthorized", times=2),
    Fault(verb="clear", effect="throttle", retry_after=0.01, times=2),
    Fault(verb="clear", effect="garbage", times=2),
    Fault(verb="clear", effect="reset", times=2),
    Fault(verb="clear", effect="cut", times=2),
    Fault(verb="batch", status=500, html=True, times=2),
    Fault(verb="token", status=503, times=2),
    Fault(verb="token", status=400, times=9),
    Fault(verb="token", effect="garbage", times=9),
]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000, apps={APP: SECRET}) as emulator:
        yield emulator


@pytest.fixture
def told() -> Iterator[StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield StringIO()
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


class Search:
    """All that was said, and the secrets that must be nowhere in it."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = [each for secret in secrets for each in disguises(secret)]
        self.said: list[tuple[str, bytes]] = []

    def add(self, where: str, what: object) -> None:
        data = what if isinstance(what, bytes) else str(what).encode(errors="replace")
        self.said.append((where, data))

    def files(self, folder: Path, *inputs: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path not in inputs:
                self.add(str(path), path.read_bytes())

    def found(self) -> Iterator[str]:
        for where, data in self.said:
            for secret in self.secrets:
                if secret in data:
                    yield f"{secret!r} in {where}: {around(data, secret)}"
            if jwt := re.search(rb"eyJ[\w-]{8,}", data):
                yield f"a token in {where}: {around(data, jwt[0])}"


def disguises(secret: str) -> list[bytes]:
    """The secret as it stands, and as a form, a log of bytes or a Basic header would have it."""
    plain = secret.encode()
    for_basic = f"{APP}:{secret}".encode()
    packed = [base64.b64encode(each).rstrip(b"=")[:-1] for each in (plain, for_basic)]
    forms = [quote(secret, safe=""), quote_plus(secret), plain.hex(), json.dumps(secret)[1:-1]]
    return list(dict.fromkeys([plain, *packed, *(form.encode() for form in forms)]))


def around(data: bytes, what: bytes) -> bytes:
    at = data.index(what)
    return data[max(0, at - 80) : at + 80]


def cli_for(folder: Path, emulator: Emulator, **more: str) -> Cli:
    folder.mkdir(exist_ok=True)
    given = {
        "PRESENCE_ACCESS_TOKEN": "",
        "PRESENCE_CLIENT_SECRET": SECRET,
        "PRESENCE_GRAPH__AUTHORITY": emulator.authority_url,
        "PRESENCE_GRAPH__CA_FILE": str(emulator.ca_file),
        "PRESENCE_LOGS__LEVEL": "debug",
        "PRESENCE_RETRY__ATTEMPTS": "3",
    }
    return Cli(folder, emulator, **{**given, **more})


async def ran(search: Search, cli: Cli, *words: str) -> int:
    async with cli.start(*words) as process, asyncio.timeout(60):
        out, err = await process.communicate()
    search.add(f"stdout of {words}", out)
    search.add(f"stderr of {words}", err)
    assert process.returncode is not None
    return process.returncode


async def test_the_command(emulator: Emulator, tmp_path: Path) -> None:
    search = Search(SECRET, PROXY)
    cli = cli_for(tmp_path / "a", emulator)
    users = [user(number) for number in range(25)]
    for one in users:
        emulator.put_session(TENANT, APP, one)
    assert await ran(search, cli, "hold", users[0], "Busy", "--for", "30m") == 0
    assert await ran(search, cli, "clear", *users) == 0
    more = [("outcomes", "--json"), ("recover",), ("config", "show"), ("doctor",)]
    assert await asyncio.gather(*(ran(search, cli, *words) for words in more)) == [0] * len(more)
    with_proxy = cli_for(
        tmp_path / "b",
        emulator,
        PRESENCE_GRAPH__BASE_URL="https://graph.example.com",
        PRESENCE_GRAPH__AUTHORITY="https://login.example.com",
        PRESENCE_CLIENT_SECRET=f"not-{SECRET}",
        HTTPS_PROXY=f"http://someone:{PROXY}@127.0.0.1:9",
    )
    failed = await asyncio.gather(
        ran(search, with_proxy, "clear", users[0], "--deadline", "1s"),
        ran(search, with_proxy, "doctor"),
    )
    assert failed[0] in (1, 3)
    assert failed[1] == 3
    search.files(tmp_path)
    assert list(search.found()) == []
    assert any(b"debug" in said or b"info" in said for _, said in search.said)
    search.add("what would be found", f"so {SECRET}, and eyJhbGciOiJub25lIn0.x")
    search.add("in a form", urlencode({"client_secret": SECRET}))
    search.add("in a header", "Basic " + base64.b64encode(f"{APP}:{SECRET}".encode()).decode())
    search.add("in bytes", SECRET.encode().hex())
    assert len(list(search.found())) == 5


def certificate() -> tuple[bytes, str]:
    """A key locked by PASSWORD with its certificate, and a piece of the key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "planted")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    locked = serialization.BestAvailableEncryption(PASSWORD.encode())
    pkcs8 = serialization.PrivateFormat.PKCS8
    plain = key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()
    return key.private_bytes(pem, pkcs8, locked) + made.public_bytes(pem), plain.split("\n")[9]


async def test_the_library_through_every_kind_of_failure(
    emulator: Emulator, tmp_path: Path, told: StringIO
) -> None:
    pem, piece = await asyncio.to_thread(certificate)
    file = tmp_path / "planted.pem"
    file.write_bytes(pem)
    emulator.add_app(APP, secret=SECRET, certificate_pem=pem.decode())
    search = Search(SECRET, PASSWORD, FEDERATED, piece)
    common: dict[str, Any] = {
        "tenant_id": TENANT,
        "client_id": APP,
        "graph": {
            "base_url": emulator.graph_url,
            "authority": emulator.authority_url,
            "ca_file": emulator.ca_file,
            "timeout": 0.5,
        },
        "shutdown": {"deadline": 0.2},
        "sign_in_timeout": 1.0,
        "retry": {"attempts": 3, "first_wait": 0.01, "longest_wait": 0.05, "settle": 0.01},
        "logs": {"level": "debug"},
    }
    secret_file = tmp_path / "planted-secret"
    secret_file.write_text(SECRET)
    workload = tmp_path / "planted-workload"
    workload.write_text(f"eyJ{FEDERATED}.{FEDERATED}.x")  # refused: the emulator trusts nobody
    inputs = file, secret_file, workload
    kinds: list[dict[str, Any]] = [
        {"client_secret": SECRET},
        {"client_certificate": file, "client_certificate_password": PASSWORD},
    ]
    others: list[dict[str, Any]] = [
        {"client_secret_file": secret_file},
        {"federated_token_file": workload},
        {"access_token": emulator.token(TENANT, APP)},
    ]
    runs = [*zip([None, *FAULTS], itertools.cycle(kinds)), *((FAULTS[1], each) for each in others)]
    for number, (fault, credential) in enumerate(runs):
        ledger = f"sqlite:///{tmp_path / f'{number}.db'}"
        settings = Settings(**common, **credential, ledger={"url": ledger})  # type: ignore[arg-type]
        logs.configure(settings.logs, told)
        for what in (settings, settings.model_dump(), settings.model_dump_json()):
            search.add("settings", repr(what))
        if fault is not None:
            emulator.add_fault(fault)
        async with PresenceManager(settings) as presence:
            search.add("reprs", [presence, presence._graph, presence._tokens, presence.status()])
            for one in range(3):
                emulator.put_session(TENANT, APP, user(one))
            search.add("a report", await presence.sweep([user(n) for n in range(3)], deadline=0.7))
            try:
                await presence.hold(user(9), "Busy", timeout=0.5)
            except PresenceError as error:
                search.add("an exception", "".join(traceback.format_exception(error)))
                search.add("its repr", repr(error) + repr(vars(error)))
            search.files(tmp_path, *inputs)  # the -wal and -shm files are there now
            async for outcome in presence.outcomes():
                search.add("an outcome", outcome)
        search.add("the last report", presence.last_report)
        emulator.clear_faults()
    search.add("the log", told.getvalue())
    assert "debug" in told.getvalue() or "info" in told.getvalue()
    search.files(tmp_path, *inputs)
    assert list(search.found()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="ended by SIGTERM")
async def test_the_daemon(emulator: Emulator, tmp_path: Path) -> None:
    cli = cli_for(tmp_path / "d", emulator)
    tokens = tmp_path / "d" / "tokens"
    tokens.write_text(f"bot:write:{BEARER}\n")
    tokens.chmod(0o600)
    ready = tmp_path / "d" / "ready"
    cli.environment["PRESENCE_HTTP__TOKENS_FILE"] = str(tokens)
    search = Search(SECRET, BEARER, WRONG)
    words = ("run", "--listen", "127.0.0.1:0", "--ready-file", str(ready))
    assert PYTHON
    async with cli.start(*words) as process, asyncio.timeout(60):
        while not (ready.exists() and ready.read_text().strip()):
            await asyncio.sleep(0.02)
        base = ready.read_text().strip().splitlines()[0]
        hold = f"/v1/tenants/default/users/{user(1)}/holds/call"
        paths = ("/v1/sessions", "/v1/outcomes", "/v1/tenants", "/metrics", "/readyz", "/nowhere")
        async with aiohttp.ClientSession(base) as client:
            for bearer in (BEARER, WRONG, f"{BEARER}\t{WRONG}"):
                headers = {"Authorization": f"Bearer {bearer}"}
                body = {"availability": "Busy", "activity": "InACall"}
                for method, path, more in [
                    ("PUT", hold, {"json": body}),
                    ("PUT", hold, {"json": {**body, "ttl": bearer}}),
                    *(("GET", path, {}) for path in paths),
                    ("DELETE", hold, {}),
                    ("POST", "/v1/sweeps", {"json": {"everyone": True}}),
                ]:
                    with suppress(ValueError):
                        async with client.request(method, path, headers=headers, **more) as answer:
                            said = await answer.text()
                            if "ttl" not in str(more):  # what a caller sends may come back
                                search.add(f"{method} {path}", f"{answer.headers} {said}")
            async with client.get(f"/v1/sessions?access_token={WRONG}") as answer:
                search.add("asked by a query", await answer.text())
        process.terminate()
        out, err = await process.communicate()
    search.add("stdout", out)
    search.add("stderr", err)
    search.files(tmp_path, tokens)
    assert process.returncode == 0, err.decode()
    assert list(search.found()) == []
