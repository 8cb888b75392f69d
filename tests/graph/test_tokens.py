"""Which way to sign in, and a token that somebody else obtained."""

from __future__ import annotations

import base64
import json
import math
import time
from typing import Any

import pytest

from presence_manager.errors import SettingsError, SignInRefused
from presence_manager.graph.tokens import (
    CredentialTokens,
    MsalTokens,
    ReadyToken,
    adapt,
    tokens_for,
)
from presence_manager.ports import Token
from presence_manager.settings import Settings

from .token_server import APP, SECRET, TENANT, certificate, pem, pem_key


def jwt(**payload: Any) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{middle}.planted-signature"


def test_nothing_to_sign_in_with_names_what_to_set() -> None:
    with pytest.raises(SettingsError) as caught:
        tokens_for(Settings(client_id=APP))
    for name in ("CLIENT_SECRET", "CLIENT_CERTIFICATE", "ACCESS_TOKEN"):
        assert f"PRESENCE_{name}" in str(caught.value)


def test_each_credential_has_its_way(tmp_path: Any) -> None:
    file = tmp_path / "app.pem"
    key, made = certificate()
    file.write_bytes(pem_key(key) + pem(made))
    assert "client_secret" in repr(tokens_for(Settings(client_id=APP, client_secret=SECRET)))
    by_certificate = tokens_for(Settings(client_id=APP, client_certificate=str(file)))
    assert f"client_certificate={file}" in repr(by_certificate)
    assert isinstance(tokens_for(Settings(access_token="abc")), ReadyToken)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"client_id": ""}, "PRESENCE_CLIENT_ID"),
        ({"graph": {"authority": "http://127.0.0.1:1"}}, "PRESENCE_GRAPH__AUTHORITY"),
    ],
)
def test_what_is_missing_or_wrong_is_said_at_once(more: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        tokens_for(Settings(**({"client_id": APP, "client_secret": SECRET} | more)))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a certificate", None])
def test_ca_file_that_is_none_is_said_at_once(tmp_path: Any, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"PRESENCE_GRAPH__CA_FILE.*ca\.pem"):
        tokens_for(Settings(client_id=APP, client_secret=SECRET, graph={"ca_file": str(file)}))


def test_adapt_chooses_by_what_is_given() -> None:
    settings = Settings(client_id=APP, client_secret=SECRET)

    class Credential:
        async def get_token(self, *scopes: str, **options: Any) -> object: ...

    ready = ReadyToken("abc")
    assert adapt(ready, settings) is ready
    assert isinstance(adapt(None, settings), MsalTokens)
    assert isinstance(adapt(Credential(), settings), CredentialTokens)
    assert "https://graph.microsoft.com/.default" in repr(adapt(Credential(), settings))


def test_adapt_refuses_the_rest_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="cannot be a str") as caught:
        adapt(SECRET, Settings())
    assert SECRET not in str(caught.value)


async def test_ready_token_is_used_until_refused() -> None:
    tokens = ReadyToken("planted-token", 4e9)
    token = await tokens.token(TENANT)
    assert (token.secret, token.expires_at) == ("planted-token", 4e9)
    assert await tokens.token(TENANT, refused=Token("another", 0)) == token
    with pytest.raises(SignInRefused, match="PRESENCE_ACCESS_TOKEN") as caught:
        await tokens.token(TENANT, refused=token)
    await tokens.close()
    assert caught.value.code == "invalid_token"
    assert "planted" not in f"{caught.value} {caught.value!r} {tokens!r} {token!r}"


@pytest.mark.parametrize(
    ("life", "claims", "said"),
    [
        (-60, "", "it expired at"),
        (3600, "", "it was revoked, or is not meant"),
        (3600, "{}", "claims challenge"),
    ],
)
async def test_ready_jwt_says_why_it_may_be_refused(life: float, claims: str, said: str) -> None:
    tokens = ReadyToken(jwt(exp=int(time.time() + life)))
    token = await tokens.token(TENANT)
    with pytest.raises(SignInRefused, match=said):
        await tokens.token(TENANT, refused=token, claims=claims)


@pytest.mark.parametrize(
    "odd",
    [
        "opaque",
        "a.b.c",
        "..",
        jwt(),
        jwt(exp="soon"),
        jwt(exp=True),
        jwt(exp=1e300),
        jwt(exp=-1e300),
        jwt(exp=float("nan")),
        jwt(exp=float("inf")),
        "a." + base64.urlsafe_b64encode(b"[" * 40_000).decode().rstrip("=") + ".c",
        "a." + base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("=") + ".c",
        "a." + base64.urlsafe_b64encode(b'["exp"]').decode().rstrip("=") + ".c",
    ],
)
async def test_odd_tokens_are_used_as_they_are(odd: str) -> None:
    token = await ReadyToken(odd).token(TENANT)
    assert token.secret == odd
    assert token.expires_at == math.inf


@pytest.mark.parametrize("odd", ["", "planted\r\nX: y", "Bearer planted", "plänted", "planted\x00"])
def test_token_that_would_change_the_request_is_refused(odd: str) -> None:
    with pytest.raises(SettingsError, match="PRESENCE_ACCESS_TOKEN") as caught:
        ReadyToken(odd)
    assert "pl" not in str(caught.value).replace("place", "")
