"""Any credential with azure-core's async methods will do."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
)
from tenacity import wait_none

from presence_manager.errors import SettingsError, SignInRefused, SignInUnavailable
from presence_manager.graph.tokens_credential import CredentialTokens
from presence_manager.graph.tokens_memory import default_retry

from .token_server import TENANT, shown

SCOPE = "https://graph.example/.default"
CLAIMS = '{"access_token": {"nbf": {"essential": true, "value": "1"}}}'


class CredentialUnavailableError(ClientAuthenticationError):
    """As azure-identity has it."""


class OldStyle:
    """Keeps its token, like azure-identity: only claims make it get another."""

    def __init__(self, *faults: Exception, stubborn: bool = False) -> None:
        self.faults = list(faults)
        self.stubborn = stubborn
        self.calls: list[tuple[tuple[str, ...], dict[str, Any]]] = []
        self.number = 1

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        self.calls.append((scopes, options))
        if self.faults:
            raise self.faults.pop(0)
        if options.get("claims") and not self.stubborn:
            self.number += 1
        return AccessToken(f"planted-{self.number}", 4_000_000_000)


class NewStyle(OldStyle):
    async def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
        token = await super().get_token(*scopes, **options)
        return AccessTokenInfo(token.token, token.expires_on)

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        raise AssertionError("get_token_info comes first")


def tokens_of(credential: object) -> CredentialTokens:
    return CredentialTokens(
        credential, SCOPE, timeout=5, retry=default_retry().copy(wait=wait_none())
    )


@pytest.mark.parametrize("style", [OldStyle, NewStyle])
async def test_both_shapes_are_asked_for_tenant_scope_cae_and_claims(style: Any) -> None:
    credential = style()
    tokens = tokens_of(credential)
    first = await tokens.token(TENANT)
    assert await tokens.token(TENANT) is first
    second = await tokens.token(TENANT, refused=first, claims=CLAIMS)
    await tokens.close()
    plain = {"tenant_id": TENANT, "enable_cae": True}
    assert credential.calls == [((SCOPE,), plain), ((SCOPE,), plain | {"claims": CLAIMS})]
    assert (first.secret, second.secret) == ("planted-1", "planted-2")
    assert first.expires_at == 4_000_000_000
    assert "planted" not in repr(tokens)


async def test_a_plain_refusal_gets_past_the_credentials_own_memory() -> None:
    credential = OldStyle()
    tokens = tokens_of(credential)
    first = await tokens.token(TENANT)
    assert (await tokens.token(TENANT, refused=first)).secret == "planted-2"
    assert "cp1" in credential.calls[-1][1]["claims"]


@pytest.mark.parametrize("claims", ["", CLAIMS])
async def test_a_credential_that_knows_one_token_only_is_refused(claims: str) -> None:
    tokens = tokens_of(OldStyle(stubborn=True))
    first = await tokens.token(TENANT)
    with pytest.raises(SignInRefused, match="the same token again"):
        await tokens.token(TENANT, refused=first, claims=claims)


class _Response:
    def __init__(self, status: int) -> None:
        self.status_code = status
        self.reason = "because"

    def text(self) -> str:
        return "planted body"


@pytest.mark.parametrize(
    ("fault", "kind", "said", "calls"),
    [
        (ClientAuthenticationError("AADSTS7000222: expired\nmore"), SignInRefused, "7000222", 1),
        (CredentialUnavailableError("nothing is configured"), SignInRefused, "nothing is", 1),
        (
            ClientAuthenticationError("busy", response=_Response(503)),  # type: ignore[arg-type]
            SignInUnavailable,
            "busy",
            1,
        ),
        (HttpResponseError("garbled"), SignInUnavailable, "HttpResponseError: garbled", 3),
        (ServiceRequestError("no route"), SignInUnavailable, "no route", 3),
        (OSError(111, "Connection refused"), SignInUnavailable, "Connection refused", 3),
        (RuntimeError("planted"), SignInUnavailable, "OldStyle raised RuntimeError$", 1),
        (TypeError("planted"), SignInUnavailable, "OldStyle raised TypeError$", 1),
        (AzureError("eyJhbGciOiJ.planted.planted"), SignInUnavailable, r"\*\*\*$", 3),
    ],
)
async def test_faults_are_translated_by_name(
    fault: Exception, kind: type[Exception], said: str, calls: int
) -> None:
    credential = OldStyle(*[fault] * calls)
    with pytest.raises(kind, match=said) as caught:
        await tokens_of(credential).token(TENANT)
    assert type(caught.value) is kind
    assert len(credential.calls) == calls
    assert "\n" not in str(caught.value)
    assert "planted" not in shown(caught.value)


async def test_a_silent_credential_ends_at_the_timeout() -> None:
    import asyncio

    class Silent:
        async def get_token(self, *_: str, **__: Any) -> Any:
            await asyncio.Event().wait()

    with pytest.raises(SignInUnavailable, match=r"no answer within 0\.01 s"):
        await CredentialTokens(Silent(), SCOPE, timeout=0.01).token(TENANT)


@pytest.mark.parametrize(
    "answer",
    [None, "planted", AccessToken("plan\nted", 1), AccessToken("x", "soon"), (1, 2)],  # type: ignore[arg-type]
)
async def test_an_answer_that_is_no_token_is_refused(answer: object) -> None:
    class Odd:
        async def get_token(self, *_: str, **__: Any) -> object:
            return answer

    with pytest.raises(SignInRefused, match="Odd answered with") as caught:
        await tokens_of(Odd()).token(TENANT)
    assert "plan" not in str(caught.value)


def test_a_synchronous_credential_is_refused_before_it_can_block() -> None:
    class ClientSecretCredential:
        def get_token(self, *_: str, **__: Any) -> Any:
            raise AssertionError("it was called")

        def get_token_info(self, *_: str, **__: Any) -> Any:
            raise AssertionError("it was called")

        def close(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    with pytest.raises(SettingsError, match=r"ClientSecretCredential.*azure\.identity\.aio"):
        tokens_of(ClientSecretCredential())


async def test_a_plain_method_of_an_async_credential_may_hand_on() -> None:
    class Wrapper:
        def get_token(self, *scopes: str, **options: Any) -> Any:
            return OldStyle().get_token(*scopes, **options)

        async def close(self) -> None: ...

    class Liar(Wrapper):
        def get_token(self, *scopes: str, **options: Any) -> Any:
            return AccessToken("planted", 4_000_000_000)

    assert (await tokens_of(Wrapper()).token(TENANT)).secret == "planted-1"
    with pytest.raises(SignInRefused, match="synchronous credential"):
        await tokens_of(Liar()).token(TENANT)


def test_what_is_no_credential_is_refused() -> None:
    with pytest.raises(SettingsError, match="object is no credential"):
        tokens_of(object())
