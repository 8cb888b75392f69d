"""Sign-in with a library that blocks: on daemon threads, bounded in number and in time."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from presence_manager.errors import SettingsError
from presence_manager.graph.tokens_failure import Failure, sendable
from presence_manager.graph.tokens_memory import TokenMemory
from presence_manager.graph.tokens_refusal import refusal
from presence_manager.graph.tokens_thread import DaemonThreads
from presence_manager.ports import Token

if TYPE_CHECKING:
    from pathlib import Path

    from tenacity import AsyncRetrying

    from presence_manager.graph.tokens_http import IdentityClient
    from presence_manager.settings import Settings

_AT_A_TIME = 16  # sign-ins, over all tenants: each costs a thread and a TLS handshake
_DEFAULT_LIFE = 3600.0  # seconds, where the platform does not say
_TENANT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,253}")


@dataclass(frozen=True, slots=True)
class Ask:
    """One sign-in: `again` if a token was refused, `claims` the challenge if it can be merged.

    `deadline` is in monotonic seconds.
    """

    tenant: str
    again: bool
    claims: str | None
    deadline: float


class BlockingTokens:
    """Implements `Tokens` over a method that signs in once and blocks: `_work`.

    Raises SettingsError, naming the setting, for what is wrong on this machine; the network and
    msal are not touched before the first token is needed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        retry: AsyncRetrying | None = None,
        now: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._now = now
        self._check()
        self._threads = DaemonThreads()
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._memory = TokenMemory(
            self._sign_in, timeout=settings.sign_in_timeout, retry=retry, now=now, ticks=ticks
        )

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Return a token for the tenant; raises SignInRefused or SignInUnavailable."""
        return await self._memory.token(tenant, refused=refused, claims=claims)

    async def close(self) -> None:
        """Forget all tokens, and leave to itself what is in flight."""
        await self._memory.close()

    def _check(self) -> None:
        raise NotImplementedError

    def _work(self, ask: Ask) -> Token:
        """Sign in once, blocking; raises Failure. Runs on a thread that may be left behind."""
        raise NotImplementedError

    async def _sign_in(self, tenant: str, refused: Token | None, claims: str) -> Token:
        if _TENANT.fullmatch(tenant) is None:
            raise Failure("that is no tenant id", refused=True, code="invalid_tenant")
        ask = Ask(tenant, refused is not None, _readable(claims), self._deadline())
        async with self._slots:
            return await self._threads.run(tenant, functools.partial(self._work, ask))

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.sign_in_timeout

    def _check_authority(self) -> None:
        settings = self._settings
        if not settings.client_id:
            raise SettingsError("client_id (PRESENCE_CLIENT_ID) is not set: the sign-in needs it")
        if not settings.graph.authority.startswith("https://"):
            raise SettingsError(
                "graph.authority (PRESENCE_GRAPH__AUTHORITY) has to be https:// for a sign-in "
                "there; the emulator has it with --tls"
            )
        if settings.graph.ca_file is not None:
            _check_ca_file(settings.graph.ca_file)

    def _client(self, deadline: float, secrets: tuple[str, ...]) -> IdentityClient:
        from presence_manager.graph.tokens_http import IdentityClient  # noqa: PLC0415 - slow

        graph = self._settings.graph
        return IdentityClient(
            graph.authority,
            ca_file=graph.ca_file,
            connect_timeout=graph.connect_timeout,
            deadline=deadline,
            secrets=secrets,
        )


def token_of(result: Any, began: float, secrets: tuple[str, ...] = ()) -> Token:
    """Return the token in msal's result, asked for at `began`; raises Failure, without secrets."""
    if not isinstance(result, dict):
        raise Failure("msal gave no answer")
    if "access_token" not in result:
        raise refusal(result, secrets)
    secret, life = result["access_token"], result.get("expires_in", _DEFAULT_LIFE)
    if not sendable(secret):
        raise Failure("the identity platform answered with a token that cannot be sent")
    return Token(secret, began + float(life))


def _readable(claims: str) -> str | None:
    """Return the claims challenge if msal can merge it with ours, else None.

    A challenge that nobody can read is answered with a new token all the same.
    """
    try:
        document = json.loads(claims) if claims else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("access_token", {}), dict):
        return None
    return claims


def _check_ca_file(path: Path) -> None:
    why = ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        why = "holds no certificate in PEM form"
    except OSError as error:
        why = f"cannot be read: {error.strerror or type(error).__name__}"
    if why:
        raise SettingsError(f"graph.ca_file (PRESENCE_GRAPH__CA_FILE): {path} {why}")
