"""Sign-in through a credential object of the Azure SDK, or anything shaped like one."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from presence_manager.errors import SettingsError
from presence_manager.graph.headers import clean
from presence_manager.graph.tokens_failure import Failure, sendable
from presence_manager.graph.tokens_memory import TokenMemory
from presence_manager.graph.tokens_refusal import scrub
from presence_manager.ports import Token

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

_LONGEST = 300  # characters of a credential's own message that are passed on

# A credential keeps its tokens in a memory of its own, which only a claims challenge goes past.
# Asking for what `enable_cae` asks for anyway changes nothing else about the token.
_PAST_ITS_MEMORY = '{"access_token": {"xms_cc": {"values": ["cp1"]}}}'

# By name, as azure-core is not imported; their messages are meant to be read by people.
_REFUSES = frozenset({"ClientAuthenticationError", "CredentialUnavailableError"})
_SPEAKS = _REFUSES | {"AzureError", "OSError"}


class CredentialTokens:
    """Implements `Tokens` with azure-core's async `get_token_info` or `get_token`.

    `scope` is what a token is asked for, for example https://graph.microsoft.com/.default;
    `timeout` the seconds one sign-in may take. The credential stays its owner's: it is not
    closed. Raises SettingsError for an object that has neither method, or blocks.
    """

    def __init__(
        self,
        credential: object,
        scope: str,
        *,
        timeout: float = 10.0,
        retry: AsyncRetrying | None = None,
        now: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = type(credential).__name__
        self._info = callable(getattr(credential, "get_token_info", None))
        ask = getattr(credential, "get_token_info" if self._info else "get_token", None)
        if not callable(ask):
            raise SettingsError(f"{self._name} is no credential: it has no get_token")
        if not _asynchronous(credential, ask):
            raise SettingsError(self._blocks())
        self._ask: Callable[..., Any] = ask
        self._scope = scope
        self._memory = TokenMemory(
            self._sign_in, timeout=timeout, retry=retry, now=now, ticks=ticks
        )

    def __repr__(self) -> str:
        return f"CredentialTokens({self._name}, {self._scope})"

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Return a token for the tenant; raises SignInRefused or SignInUnavailable."""
        return await self._memory.token(tenant, refused=refused, claims=claims)

    async def close(self) -> None:
        """Forget all tokens; the credential is left as it is."""
        await self._memory.close()

    async def _sign_in(self, tenant: str, refused: Token | None, claims: str) -> Token:
        token = await self._once(tenant, claims)
        if refused is not None and token.secret == refused.secret and not claims:
            token = await self._once(tenant, _PAST_ITS_MEMORY)
        return token

    async def _once(self, tenant: str, claims: str) -> Token:
        options: dict[str, Any] = {"tenant_id": tenant, "enable_cae": True}
        if claims:
            options["claims"] = claims
        failure: Failure | None = None
        try:
            if self._info:
                answer = self._ask(self._scope, options=options)
            else:
                answer = self._ask(self._scope, **options)
            if inspect.isawaitable(answer):
                answer = await answer
            else:
                failure = Failure(self._blocks(), refused=True)
        except Exception as error:
            failure = self._translated(error)
        if failure is not None:
            raise failure
        secret, expires_on = getattr(answer, "token", None), getattr(answer, "expires_on", None)
        if not isinstance(secret, str) or not isinstance(expires_on, int | float):
            raise Failure(f"{self._name} answered with something that is no token", refused=True)
        if not sendable(secret):
            raise Failure(f"{self._name} answered with a token that cannot be sent", refused=True)
        return Token(secret, float(expires_on))

    def _blocks(self) -> str:
        return (
            f"{self._name} is a synchronous credential and would block the event loop: use the "
            "one of the same name from azure.identity.aio"
        )

    def _translated(self, error: Exception) -> Failure:
        if isinstance(error, Failure):
            return error
        names = {kind.__name__ for kind in type(error).__mro__}
        text = f"{self._name} raised {type(error).__name__}"
        if names & _SPEAKS and (said := _first_line(error)):
            text += f": {said}"
        status = getattr(error, "status_code", None)
        trouble = isinstance(status, int) and (status == 429 or status >= 500)
        if names & _REFUSES and not trouble:
            return Failure(text, refused=True, code="invalid_client")
        return Failure(text, again=not trouble and bool(names & {"AzureError", "OSError"}))


def _asynchronous(credential: object, ask: Callable[..., Any]) -> bool:
    """Whether the credential can be awaited; found out without calling it, which might block.

    A plain function may hand on to an async one: it passes if its object is otherwise async.
    """
    if inspect.iscoroutinefunction(inspect.unwrap(ask)):
        return True
    closes = getattr(credential, "close", None)
    return hasattr(credential, "__aexit__") or inspect.iscoroutinefunction(closes)


def _first_line(error: Exception) -> str:
    line = scrub(str(error)[: 100 * _LONGEST]).strip().partition("\n")[0]
    return clean(line, _LONGEST)
