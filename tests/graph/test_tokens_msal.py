"""msal itself, over TLS, against an endpoint that does what it is told."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest

from presence_manager.errors import SignInRefused, SignInUnavailable

from .token_server import (
    APP,
    OTHER,
    SECRET,
    TENANT,
    Clock,
    Reply,
    TokenServer,
    certificate,
    pem,
    pem_key,
    refused,
    shown,
    threads_gone,
    tokens_at,
)

CLAIMS = '{"access_token": {"nbf": {"essential": true, "value": "1764000000"}}}'


async def test_many_callers_are_one_request_with_the_right_form() -> None:
    clock = Clock()
    with TokenServer() as server:
        tokens = tokens_at(server, clock)
        found = await asyncio.gather(*(tokens.token(TENANT) for _ in range(100)))
        await tokens.close()
    assert {token.secret for token in found} == {"token-1"}
    assert found[0].expires_at == clock.time + 3600
    (form,) = server.forms
    assert form["client_id"] == APP
    assert form["client_secret"] == SECRET
    assert form["grant_type"] == "client_credentials"
    assert form["scope"] == "https://graph.example/.default"
    assert json.loads(form["claims"]) == {"access_token": {"xms_cc": {"values": ["CP1"]}}}
    assert server.gets == [f"/{TENANT}/v2.0/.well-known/openid-configuration"]
    assert not any("Authorization" in headers for headers in server.headers)


async def test_tenants_have_tokens_of_their_own() -> None:
    with TokenServer() as server:
        tokens = tokens_at(server)
        one, two = await asyncio.gather(tokens.token(TENANT), tokens.token(OTHER))
        assert await tokens.token(TENANT) is one
        assert await tokens.token(OTHER) is two
        assert one.secret != two.secret
        assert len(server.forms) == 2
        await tokens.close()


@pytest.mark.parametrize("claims", [CLAIMS, "", "not json", "[1]", '{"access_token": null}'])
async def test_a_refused_token_is_replaced_by_one_request(claims: str) -> None:
    with TokenServer() as server:
        tokens = tokens_at(server)
        old = await tokens.token(TENANT)
        new = await asyncio.gather(
            *(tokens.token(TENANT, refused=old, claims=claims) for _ in range(20))
        )
        await tokens.close()
    assert {token.secret for token in new} == {"token-2"}
    asked = json.loads(server.forms[1]["claims"])["access_token"]
    assert ("nbf" in asked) == (claims == CLAIMS)
    assert asked["xms_cc"] == {"values": ["CP1"]}


async def test_a_platform_that_gives_the_same_token_again_refuses() -> None:
    with TokenServer() as server:
        server.script += [Reply(200, {"access_token": "same", "token_type": "Bearer"})] * 2
        tokens = tokens_at(server)
        old = await tokens.token(TENANT)
        with pytest.raises(SignInRefused, match="the same token again"):
            await tokens.token(TENANT, refused=old)
        await tokens.close()


async def test_cancelling_a_caller_leaves_the_request_to_the_others() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def before() -> None:
        reached.set()
        go_on.wait(10)

    with TokenServer() as server:
        server.script.append(
            Reply(200, {"access_token": "late", "token_type": "Bearer"}, before=before)
        )
        tokens = tokens_at(server)
        first, second = [asyncio.create_task(tokens.token(TENANT)) for _ in range(2)]
        await asyncio.to_thread(reached.wait, 10)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        go_on.set()
        assert (await second).secret == "late"
        assert len(server.forms) == 1
        await tokens.close()


FAULTS: dict[str, tuple[Reply, type[Exception], str, int]] = {
    "wrong secret": (
        refused(7000215, "invalid_client", f"Invalid client secret {SECRET} provided"),
        SignInRefused,
        r"7000215: Invalid client secret \*\*\* provided .*not its id",
        1,
    ),
    "unknown application": (
        refused(700016, "unauthorized_client", "Not found"),
        SignInRefused,
        "PRESENCE_CLIENT_ID",
        1,
    ),
    "transient": (refused(90033, "invalid_grant", "Later"), SignInUnavailable, "90033", 1),
    "throttled": (Reply(429, b"", {"Retry-After": "3"}), SignInUnavailable, "HTTP 429", 1),
    "down, says when": (Reply(503, b"", {"Retry-After": "3"}), SignInUnavailable, "HTTP 503", 1),
    "down": (Reply(500, b"<html>"), SignInUnavailable, "HTTP 500", 3),
    "garbage": (
        Reply(200, b'{"access_token": "planted-half'),
        SignInUnavailable,
        r"\(HTTP 200\) is not from an identity platform",
        3,
    ),
    "not utf-8": (Reply(200, b"\xff\xfe"), SignInUnavailable, "HTTP 200", 3),
    "a list": (Reply(200, b"[]"), SignInUnavailable, "HTTP 200", 3),
    "portal": (Reply(403, b"<html>log in</html>"), SignInUnavailable, "HTTP 403", 1),
    "elsewhere": (
        Reply(307, b"", {"Location": "https://example.com/"}),
        SignInUnavailable,
        "redirects to another place",
        1,
    ),
    "cut": (Reply(None), SignInUnavailable, "the connection to .* failed", 3),
    "short": (
        Reply(200, b"{}", {"Content-Length": "9", "Connection": "close"}),
        SignInUnavailable,
        "the connection to .* failed",
        3,
    ),
    "huge": (Reply(200, b" " * 1_100_000), SignInUnavailable, "more than a megabyte", 1),
    "no token": (Reply(200, {"token_type": "Bearer"}), SignInRefused, "error", 1),
    "odd token": (
        Reply(200, {"access_token": "planted\r\nX: y"}),
        SignInUnavailable,
        "cannot be sent",
        1,
    ),
    "odd life": (
        Reply(200, {"access_token": "planted", "expires_in": "soon"}),
        SignInUnavailable,
        "unexpected ValueError",
        1,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults_of_the_token_endpoint(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    reply, kind, said, requests = FAULTS[fault]
    caplog.set_level(logging.DEBUG)
    clock = Clock()
    with TokenServer() as server:
        server.script += [reply] * requests
        tokens = tokens_at(server, clock)
        with pytest.raises(kind, match=said) as caught:
            await tokens.token(TENANT)
        assert len(server.forms) == requests
        assert type(caught.value) is kind
        # msal would replay a 400 for a minute: a corrected situation is seen after our pause.
        clock.time += 5
        assert (await tokens.token(TENANT)).secret == f"token-{requests + 1}"
        await tokens.close()
    assert "planted" not in shown(caught.value) + caplog.text + repr(tokens)


DISCOVERY: dict[str, tuple[Reply, type[Exception], str]] = {
    "no such tenant": (
        refused(90002, "invalid_tenant", "Tenant not found"),
        SignInRefused,
        "invalid_tenant: AADSTS90002.*national cloud",
    ),
    "no such page": (Reply(404, b"<html>"), SignInRefused, "PRESENCE_GRAPH__AUTHORITY"),
    "no document": (Reply(200, b"{}"), SignInUnavailable, "without a token_endpoint"),
    "another host": (
        Reply(
            200,
            {
                "token_endpoint": "https://evil.example/x/token",
                "authorization_endpoint": "https://evil.example/x/authorize",
            },
        ),
        SignInRefused,
        r"sent to another place \(evil\.example\)",
    ),
    "plain http": (
        Reply(
            200,
            {
                "token_endpoint": "http://login.microsoftonline.com/x/token",
                "authorization_endpoint": "https://login.microsoftonline.com/x/authorize",
            },
        ),
        SignInRefused,
        "sent to another place",
    ),
}


@pytest.mark.parametrize("fault", DISCOVERY)
async def test_faults_of_the_configuration(fault: str) -> None:
    reply, kind, said = DISCOVERY[fault]
    with TokenServer() as server:
        server.discovery = reply
        tokens = tokens_at(server)
        with pytest.raises(kind, match=said) as caught:
            await tokens.token(TENANT)
        await tokens.close()
    assert server.forms == []
    assert "planted" not in shown(caught.value)


@pytest.mark.parametrize("tenant", ["", "../x", "a/b", "a?b", "a\n", "é"])
async def test_a_tenant_cannot_change_the_path(tenant: str) -> None:
    with TokenServer() as server, pytest.raises(SignInRefused, match="no tenant id"):
        await tokens_at(server).token(tenant)
    assert server.gets == []


async def test_a_wrong_ca_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "other.pem"
    file.write_bytes(pem(certificate()[1]))
    with TokenServer() as server:
        # The environment must not overrule the setting.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
        monkeypatch.setenv("CURL_CA_BUNDLE", str(server.ca_file))
        tokens = tokens_at(server, graph={"ca_file": str(file)})
        with pytest.raises(SignInUnavailable, match="PRESENCE_GRAPH__CA_FILE"):
            await tokens.token(TENANT)
        await tokens.close()
    assert server.gets == []


async def test_what_the_system_trusts_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with TokenServer() as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        tokens = tokens_at(server, graph={"ca_file": None})
        assert (await tokens.token(TENANT)).secret == "token-1"
        await tokens.close()


async def test_no_proxy_on_the_way_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with TokenServer() as server:
        tokens = tokens_at(server)
        assert (await tokens.token(TENANT)).secret == "token-1"
        await tokens.close()


async def test_a_dead_proxy_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://user:planted@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with TokenServer() as server:
        tokens = tokens_at(server, graph={"authority": "https://login.example", "ca_file": None})
        with pytest.raises(SignInUnavailable, match="the proxy on the way") as caught:
            await tokens.token(TENANT)
        await tokens.close()
    assert "planted" not in shown(caught.value)


async def test_nobody_there_is_unavailable() -> None:
    with TokenServer() as server:
        pass
    tokens = tokens_at(server)
    with pytest.raises(SignInUnavailable, match=r"failed \(Connection refused\)"):
        await tokens.token(TENANT)


async def test_nothing_secret_is_logged_when_all_goes_well(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "app.pem"
    key, made = certificate()
    file.write_bytes(pem_key(key, "planted-password") + pem(made))
    by_certificate = {
        "client_secret": None,
        "client_certificate": str(file),
        "client_certificate_password": "planted-password",
    }
    with TokenServer() as server:
        server.script += [Reply(200, {"access_token": "planted-token"})] * 2
        for more in ({}, by_certificate):
            tokens = tokens_at(server, **more)
            found = await tokens.token(TENANT)
            assert found.secret == "planted-token"
            await tokens.close()
            text = caplog.text + repr(tokens) + repr(vars(tokens)) + repr(found)
            for form in server.forms:
                assert form.get("client_assertion", "planted") not in text
            assert "planted" not in text
    threads_gone()
