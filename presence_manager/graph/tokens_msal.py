"""Sign-in through msal, with a client secret or a certificate.

msal blocks, has no time-out, is not single-flight, remembers errors, and keeps tokens that
Graph has refused. So each sign-in is one short life of an msal application: built, asked once and
thrown away, on a daemon thread of its own. What has to be remembered is remembered in
`tokens_memory`. That costs one more request (the tenant's OpenID configuration) for each token,
one in an hour or a day, and buys that nothing is shared with a thread that hangs, that a refused
token is never found again in a cache, and that a renewed certificate file is read.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from presence_manager.errors import SettingsError
from presence_manager.graph.tokens_certificate import read_certificate
from presence_manager.graph.tokens_failure import Failure, sendable
from presence_manager.graph.tokens_memory import TokenMemory
from presence_manager.graph.tokens_refusal import refusal
from presence_manager.graph.tokens_thread import DaemonThreads
from presence_manager.ports import Token

if TYPE_CHECKING:
    from pathlib import Path

    from tenacity import AsyncRetrying

    from presence_manager.settings import Settings

_AT_A_TIME = 16  # sign-ins, over all tenants: each costs a thread and a TLS handshake
_DEFAULT_LIFE = 3600.0  # seconds, where the platform does not say
_TENANT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,253}")


class MsalTokens:
    """Implements `Tokens` with msal; tenants share nothing but the credential.

    Signs in with `client_certificate` if there is one, else with `client_secret`. Raises
    SettingsError, naming the setting or the file, for what is wrong on this machine; the network
    and msal are not touched before the first token is needed.
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

    def __repr__(self) -> str:
        certificate = self._settings.client_certificate
        way = "client_secret" if certificate is None else f"client_certificate={certificate}"
        return f"MsalTokens({self._settings.graph.authority}, {way})"

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Return a token for the tenant; raises SignInRefused or SignInUnavailable."""
        return await self._memory.token(tenant, refused=refused, claims=claims)

    async def close(self) -> None:
        """Forget all tokens, and leave to itself what is in flight."""
        await self._memory.close()

    def _check(self) -> None:
        settings = self._settings
        if not settings.client_id:
            raise SettingsError("client_id (PRESENCE_CLIENT_ID) is not set: the sign-in needs it")
        if not settings.graph.authority.startswith("https://"):
            raise SettingsError(
                "graph.authority (PRESENCE_GRAPH__AUTHORITY) has to be https:// for a sign-in "
                "with a secret or certificate; the emulator has it with --tls"
            )
        if settings.graph.ca_file is not None:
            _check_ca_file(settings.graph.ca_file)
        self._credential("")

    def _credential(self, msal_version: str) -> str | dict[str, object]:
        settings = self._settings
        if settings.client_certificate is not None:
            password = settings.client_certificate_password.get_secret_value()
            certificate = read_certificate(settings.client_certificate, password, self._now())
            return certificate.credential(password, msal_version)
        return settings.client_secret.get_secret_value()

    async def _sign_in(self, tenant: str, refused: Token | None, claims: str) -> Token:
        """Sign in once; `refused` makes no difference, as nothing is kept that could be it."""
        if _TENANT.fullmatch(tenant) is None:
            raise Failure("that is no tenant id", refused=True, code="invalid_tenant")
        deadline = time.monotonic() + self._settings.sign_in_timeout
        work = functools.partial(self._work, tenant, _readable(claims), deadline)
        async with self._slots:
            return await self._threads.run(tenant, work)

    def _work(self, tenant: str, claims: str | None, deadline: float) -> Token:
        """Sign in once, blocking; raises Failure. Runs on a thread that may be left behind."""
        import msal  # noqa: PLC0415 - slow, and not needed before

        from presence_manager.graph.tokens_http import IdentityClient  # noqa: PLC0415 - slow

        settings = self._settings
        try:
            credential = self._credential(str(msal.__version__))
        except SettingsError as error:  # the file has changed since the start
            raise Failure(str(error), refused=True, code="invalid_client") from None
        client = IdentityClient(
            settings.graph.authority,
            ca_file=settings.graph.ca_file,
            connect_timeout=settings.graph.connect_timeout,
            deadline=deadline,
            secrets=(
                settings.client_secret.get_secret_value(),
                settings.client_certificate_password.get_secret_value(),
            ),
        )
        began = self._now()
        try:
            application = msal.ConfidentialClientApplication(
                settings.client_id,
                client_credential=credential,
                authority=f"{settings.graph.authority}/{tenant}",
                client_capabilities=["CP1"],
                http_client=client,
                # The authority is a setting: trusted, and never looked up at Microsoft's.
                instance_discovery=False,
                # None would read MSAL_FORCE_REGION, and True may hang.
                azure_region=False,
            )
            result = application.acquire_token_for_client(
                [f"{settings.graph.base_url}/.default"], claims_challenge=claims
            )
        finally:
            client.close()
        return _token(result, began)


def _token(result: Any, began: float) -> Token:
    """Return the token in msal's result; raises Failure."""
    if not isinstance(result, dict):
        raise Failure("msal gave no answer")
    if "access_token" not in result:
        raise refusal(result)
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
