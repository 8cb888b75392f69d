"""Whatever an identity platform, a credential or a token says: one documented error, one line."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_manager.errors import SettingsError, SignInError
from presence_manager.graph import tokens_http
from presence_manager.graph.tokens_credential import CredentialTokens
from presence_manager.graph.tokens_failure import Failure
from presence_manager.graph.tokens_http import IdentityClient
from presence_manager.graph.tokens_jwt import application_of, payload_of, tenant_of
from presence_manager.graph.tokens_ready import ReadyToken
from presence_manager.graph.tokens_refusal import refusal
from presence_manager.ports import Token

from .metadata_server import MetadataServer
from .test_tokens_managed import tokens as managed
from .token_server import (
    TENANT,
    Reply,
    TokenServer,
    jwt_of,
    server_certificate,
    threads_gone,
    tokens_at,
)

SECRET = "planted+secret/of=this"
ODD = st.text(alphabet=st.sampled_from("a\n\r\0\x1b[31m\u202e\u2028 eyJ.:\"'%+/=é"), max_size=60)
TEXT = ODD | st.text(max_size=60) | st.just(f"it was {SECRET}") | st.just("x" * 5000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
NAMES = ["error", "error_description", "error_codes", "correlation_id", "access_token", "suberror"]
ANSWER = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6)


def fit(text: str, longest: int = 1500) -> None:
    """One printable line of a bounded length, without the secret."""
    assert text.isprintable(), ascii(text)
    assert len(text) <= longest
    assert SECRET not in text


@given(ANSWER)
def test_a_refusal_is_one_line_without_the_secret(said: dict[str, Any]) -> None:
    failure = refusal(said, (SECRET,))
    fit(failure.text)
    fit(failure.code)
    fit(str(failure.error(TENANT)))


CLIENT = IdentityClient(
    "https://login.example/x",
    ca_file=server_certificate(),
    connect_timeout=1.0,
    deadline=time.monotonic() + 9,
    secrets=(SECRET,),
)


@given(st.integers(100, 599), st.dictionaries(TEXT, TEXT, max_size=2), st.binary() | ANSWER, ODD)
def test_any_answer_of_the_platform_is_an_answer_or_a_failure(
    status: int, headers: dict[str, str], body: Any, wait: str
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response: Any = types.SimpleNamespace(
        status_code=status, headers={**headers, "Retry-After": wait}
    )
    try:
        got, document = CLIENT._read(response, raw)
    except Failure as failure:
        fit(failure.text)
        assert failure.wait is None or 0 <= failure.wait < math.inf  # noqa: PT017
    else:
        assert isinstance(document, dict)
        assert got.status_code in (200, 400)


@given(TEXT | st.floats().map(str) | st.integers().map(str), st.floats(0, 4e9))
def test_any_retry_after_of_the_platform(text: str, now: float) -> None:
    seconds = tokens_http.retry_after(text, now)
    assert seconds is None or 0 <= seconds < math.inf


def packed(payload: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()
    return f"e30.{part}.x"


@given(TEXT | JSON.map(packed) | st.dictionaries(st.just("exp"), JSON).map(packed))
def test_any_text_given_as_a_token_is_one_or_is_refused(text: str) -> None:
    try:
        ready = ReadyToken(text)
    except SettingsError as error:
        assert len(text) < 9 or text not in str(error)  # noqa: PT017
        return
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 9 or text not in repr(ready)


@given(st.dictionaries(st.sampled_from(["appid", "azp", "tid"]), JSON))
def test_the_ids_that_a_token_names_are_fit_for_a_message(claims: dict[str, Any]) -> None:
    said = payload_of(packed(claims))
    for text in (application_of(said), tenant_of(said)):
        assert text.isprintable()
        assert len(text) <= 100


class AzureError(Exception):
    """Named as the one whose words are passed on."""


@given(JSON, JSON, st.none() | TEXT)
def test_whatever_a_credential_answers(secret: Any, expires_on: Any, raises: str | None) -> None:
    class Credential:
        async def get_token(self, *_: str, **__: Any) -> Any:
            if raises is not None:
                raise AzureError(raises)
            return types.SimpleNamespace(token=secret, expires_on=expires_on)

    async def ask() -> None:
        tokens = CredentialTokens(Credential(), "https://graph.example/.default", timeout=5.0)
        tokens._memory._retry.wait = lambda _: 0.0  # type: ignore[attr-defined, union-attr]
        try:
            token = await tokens.token(TENANT)
        except SignInError as error:
            fit(str(error).replace(str(raises), "") if raises and SECRET in raises else str(error))
        else:
            assert isinstance(token, Token)
            assert token.secret.isascii()
            assert token.secret.isprintable()
        await tokens.close()

    asyncio.run(ask())


async def test_a_managed_identity_that_answers_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with MetadataServer() as server:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url)
        server.script += [Reply(200, b'{"access_token": "' + b"x" * 3_000_000 + b'"}')]
        endless = managed()
        with pytest.raises(SignInError, match="more than a megabyte"):
            await endless.token(TENANT)
        await endless.close()
        given = managed()
        server.token = jwt_of(appid="\x1b[31m\n" + "x" * 500, tid=TENANT)
        with pytest.raises(SignInError, match="is the application") as no:
            await given.token(TENANT)
        fit(str(no.value))
        await given.close()
    threads_gone()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_secret_follows_a_redirect_of_the_sign_in(status: int) -> None:
    with TokenServer() as other, TokenServer() as server:
        away = Reply(status, b"", {"Location": f"{other.url}/x/oauth2/v2.0/token"})
        for replies in (server.script, None):
            if replies is None:
                server.discovery = away
            else:
                replies.append(away)
            tokens = tokens_at(server)
            with pytest.raises(SignInError, match="redirects to another place") as no:
                await tokens.token(TENANT)
            fit(str(no.value))
            await tokens.close()
        assert server.forms
        assert other.forms == other.gets == []
    threads_gone()


async def test_no_secret_goes_where_the_discovery_points() -> None:
    with TokenServer() as other, TokenServer() as server:
        places = {name: f"{other.url}/{name}" for name in ("token_endpoint", "issuer")}
        server.discovery = Reply(200, {**places, "authorization_endpoint": f"{other.url}/a"})
        tokens = tokens_at(server)
        with pytest.raises(SignInError, match="sent to another place"):
            await tokens.token(TENANT)
        await tokens.close()
        assert server.gets
        assert other.forms == other.gets == []
    threads_gone()
