"""Managed identity through msal, against endpoints on loopback that do what they are told."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import threading
from collections.abc import Iterator
from typing import Any

import msal
import pytest
from tenacity import wait_none

from presence_manager.errors import SettingsError, SignInRefused, SignInUnavailable
from presence_manager.graph.tokens import ManagedTokens, tokens_for
from presence_manager.graph.tokens_memory import default_retry
from presence_manager.settings import Settings

from .metadata_server import MetadataServer
from .token_server import APP, OTHER, TENANT, Reply, jwt_of, shown, threads_gone

HEADER = "planted-identity-header"
MSAL = inspect.getsource(msal.managed_identity)
NEWER = {
    name: pytest.mark.skipif(sign not in MSAL, reason=f"this msal is too old for {name}")
    for name, sign in (
        # Without it the test would ask the machine that it runs on.
        ("another endpoint", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        ("pinned certificates", "_ServiceFabricHTTPAdapter"),
    )
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetadataServer]:
    """An endpoint as App Service and Functions have it."""
    for name in ("IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # the platform's secret goes to no proxy
    with MetadataServer() as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", HEADER)
        yield server
    threads_gone()


def tokens(kind: str = "system", **more: Any) -> ManagedTokens:
    given = {"client_id": APP, "managed_identity": kind, "sign_in_timeout": 30} | more
    retry = default_retry().copy(wait=wait_none())
    return ManagedTokens(Settings(**given), retry=retry)


async def test_system_assigned_on_app_service(server: MetadataServer) -> None:
    given = tokens_for(Settings(client_id=APP, managed_identity="system"))
    found = await asyncio.gather(*(given.token(TENANT) for _ in range(20)))
    assert {token.secret for token in found} == {"planted-token-1"}
    again = await given.token(TENANT, refused=found[0])
    assert again.secret == "planted-token-2"
    assert (
        server.asked
        == [{"api-version": "2019-08-01", "resource": "https://graph.microsoft.com"}] * 2
    )
    assert server.headers[0]["x-identity-header"] == HEADER
    await given.close()


async def test_user_assigned_is_the_one_that_client_id_names(server: MetadataServer) -> None:
    given = tokens("user", graph={"cloud": "usgov-l4"})
    await given.token(TENANT)
    assert server.asked[0]["client_id"] == APP
    assert server.asked[0]["resource"] == "https://graph.microsoft.us"
    await given.close()


@NEWER["another endpoint"]
async def test_on_a_virtual_machine(
    server: MetadataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.delenv("IDENTITY_HEADER")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url)
    given = tokens("user")
    assert (await given.token(TENANT)).secret == "planted-token-1"
    assert server.headers[0]["metadata"] == "true"
    assert server.asked[0]["client_id"] == APP
    await given.close()


@NEWER["pinned certificates"]
async def test_on_service_fabric_only_the_certificate_named_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with MetadataServer(tls=True) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", server.url)
        monkeypatch.setenv("IDENTITY_HEADER", HEADER)
        monkeypatch.setenv("IDENTITY_SERVER_THUMBPRINT", server.thumbprint)
        given = tokens()
        old = await given.token(TENANT)
        assert server.headers[0]["secret"] == HEADER
        server.script += [Reply(404, b"")] * 3
        with pytest.raises(SignInUnavailable, match="HTTP 404"):
            await given.token(TENANT, refused=old)
        monkeypatch.setenv("IDENTITY_SERVER_THUMBPRINT", "0" * 40)
        with pytest.raises(SignInUnavailable, match="cannot be reached"):
            await tokens().token(TENANT)
        assert len(server.asked) == 4
        await given.close()
    threads_gone()
    gc.collect()


@pytest.mark.parametrize("claim", ["appid", "azp"])
async def test_the_session_id_has_to_be_the_identitys_application(
    server: MetadataServer, claim: str
) -> None:
    server.token = jwt_of(**{claim: OTHER, "tid": TENANT})
    given = tokens()
    with pytest.raises(
        SignInRefused, match=f"is the application {OTHER}.*PRESENCE_CLIENT_ID"
    ) as no:
        await given.token(TENANT)
    assert "planted" not in shown(no.value)
    server.token = jwt_of(**{claim: APP.upper(), "tid": TENANT.upper()})
    assert (await tokens().token(TENANT)).secret == server.token
    await given.close()


async def test_it_signs_in_to_no_other_tenant(server: MetadataServer) -> None:
    server.token = jwt_of(appid=APP, tid=OTHER)
    given = tokens()
    with pytest.raises(SignInRefused, match=f"is of tenant {OTHER}, and signs in to no other"):
        await given.token(TENANT)
    assert (await given.token(OTHER)).secret == server.token
    await given.close()


FAULTS: dict[str, tuple[Reply, type[Exception], str, int]] = {
    "not assigned": (
        Reply(400, {"statusCode": 400, "message": f"no identity for {HEADER}"}),
        SignInRefused,
        r"400, no identity for \*\*\*; is the identity of that client_id",
        1,
    ),
    "being set up": (Reply(404, b""), SignInUnavailable, "HTTP 404", 3),
    "updating": (Reply(410, b""), SignInUnavailable, "HTTP 410", 3),
    "throttled": (Reply(429, b""), SignInUnavailable, "HTTP 429", 3),
    "down": (Reply(500, {"statusCode": 500}), SignInUnavailable, "HTTP 500", 3),
    "garbage": (Reply(200, b'{"access_token": "planted'), SignInUnavailable, "cannot be read", 3),
    "elsewhere": (
        Reply(302, b"", {"Location": "http://x/"}),
        SignInUnavailable,
        "cannot be read",
        3,
    ),
    "cut": (Reply(None), SignInUnavailable, "cannot be reached", 3),
    "odd token": (
        Reply(200, {"access_token": "planted\r\n", "expires_on": "4000000000"}),
        SignInUnavailable,
        "cannot be sent",
        1,
    ),
    "odd life": (
        Reply(200, {"access_token": "planted", "expires_on": "soon"}),
        SignInUnavailable,
        "unexpected ValueError",
        1,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults_of_the_endpoint(
    fault: str, server: MetadataServer, caplog: pytest.LogCaptureFixture
) -> None:
    reply, kind, said, requests = FAULTS[fault]
    caplog.set_level(logging.DEBUG)
    server.script += [reply] * requests
    given = tokens("user")
    with pytest.raises(kind, match=said) as caught:
        await given.token(TENANT)
    assert type(caught.value) is kind
    assert len(server.asked) == requests
    await given.close()
    assert "planted" not in shown(caught.value) + repr(given) + caplog.text


async def test_nobody_there_and_a_silent_one_are_unavailable(
    server: MetadataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    server.script.append(Reply(None, before=lambda: go_on.wait(10)))
    with pytest.raises(SignInUnavailable, match="answer"):
        await tokens(sign_in_timeout=0.3).token(TENANT)
    go_on.set()
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    with pytest.raises(SignInUnavailable, match="does this run in Azure"):
        await tokens().token(TENANT)


async def test_nothing_secret_is_logged(
    server: MetadataServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = tokens()
    found = await given.token(TENANT)
    assert "planted" not in caplog.text + repr(given) + repr(vars(given)) + repr(found)
    await given.close()


def test_without_a_client_id_it_says_why_that_is_needed() -> None:
    with pytest.raises(SettingsError, match=r"application id .*sessionId"):
        Settings(managed_identity="system")
