"""Sign-in as the managed identity of the platform: nothing secret is configured.

msal finds the endpoint: App Service, Functions, Service Fabric, Machine Learning and Arc say where
it is in variables, else it is that of Azure's virtual machines. An identity is of one tenant, and
its application id is the `sessionId` of its sessions, so both are compared with the token.
"""

from __future__ import annotations

import json
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from presence_manager.graph.tokens_blocking import Ask, BlockingTokens, token_of
from presence_manager.graph.tokens_failure import Failure
from presence_manager.graph.tokens_jwt import application_of, payload_of, tenant_of
from presence_manager.graph.tokens_refusal import refusal
from presence_manager.ports import Token

if TYPE_CHECKING:
    import requests

# The endpoint of virtual machines says 404 and 410 while it, or an identity, is being set up.
_TRANSIENT = frozenset({404, 408, 410, 429})
_LARGEST = 1_048_576  # bytes of an answer that are read
_SECRETS = ("IDENTITY_HEADER", "MSI_SECRET")  # variables in which the platform gives its own


class ManagedTokens(BlockingTokens):
    """Implements `Tokens` with msal's managed identity client, system- or user-assigned."""

    def __repr__(self) -> str:
        return f"ManagedTokens({self._settings.managed_identity})"

    def _check(self) -> None:
        """Nothing can be wrong on this machine: `Settings` has seen to the client_id."""

    def _work(self, ask: Ask) -> Token:
        import msal  # noqa: PLC0415 - slow, and not needed before
        import requests  # noqa: PLC0415 - slow

        settings = self._settings
        if settings.managed_identity == "user":
            identity = msal.UserAssignedManagedIdentity(client_id=settings.client_id)
        else:
            identity = msal.SystemAssignedManagedIdentity()
        began = self._now()
        failure: Failure | None = None
        try:
            with _session(ask.deadline, settings.graph.connect_timeout) as session:
                client = msal.ManagedIdentityClient(identity, http_client=session)
                result = client.acquire_token_for_client(resource=settings.graph.base_url)
            token = token_of(result, began, tuple(os.environ.get(name, "") for name in _SECRETS))
        except requests.RequestException as error:
            failure = _unreachable(error)
        except msal.ManagedIdentityError as error:
            failure = refusal({"error": "managed_identity", "error_description": str(error)})
        except Failure as refused:
            failure = self._explained(refused)
        if failure is not None:
            raise failure
        self._compare(payload_of(token.secret), ask.tenant)
        return token

    def _explained(self, failure: Failure) -> Failure:
        if not failure.refused:
            return failure
        hint = "is a system-assigned identity switched on here?"
        if self._settings.managed_identity == "user":
            hint = "is the identity of that client_id (PRESENCE_CLIENT_ID) assigned here?"
        return Failure(f"{failure.text}; {hint}", refused=True, code=failure.code)

    def _compare(self, claims: dict[str, Any], tenant: str) -> None:
        """Raise Failure for a token of another application or tenant, if it says so."""
        application, home = application_of(claims), tenant_of(claims)
        if application and application != self._settings.client_id.lower():
            raise Failure(
                f"the managed identity is the application {application}, but client_id "
                f"(PRESENCE_CLIENT_ID) says {self._settings.client_id}: set it to the identity's, "
                "for it is the sessionId of its sessions",
                refused=True,
                code="other_application",
            )
        if home and home != tenant.lower():
            raise Failure(
                f"the managed identity is of tenant {home}, and signs in to no other: use a "
                "client secret, certificate or federated token for this one",
                refused=True,
                code="other_tenant",
            )


def _session(deadline: float, connect_timeout: float) -> requests.Session:
    """Return the HTTP client for msal: until `deadline`, without proxies, without redirects."""
    import requests  # noqa: PLC0415 - slow

    class Session(requests.Session):
        def request(self, *args: Any, **more: Any) -> requests.Response:
            left = deadline - time.monotonic()
            if left <= 0:
                raise requests.Timeout
            more |= {"timeout": (min(connect_timeout, left), left), "allow_redirects": False}
            return super().request(*args, **more)

    session = Session()
    session.hooks["response"] = [
        partial(_judge, deadline)
    ]  # for Service Fabric msal makes a session with the same
    session.trust_env = False  # a proxy would get the platform's secret, and ~/.netrc sign for it
    return session


def _judge(deadline: float, response: requests.Response, *_: Any, **__: Any) -> None:
    """Raise Failure for what msal would not understand, and would put into its log."""
    import requests  # noqa: PLC0415 - slow

    status = response.status_code
    body = bytearray()
    try:
        for piece in response.iter_content(16_384):
            body += piece
            if len(body) > _LARGEST:
                raise Failure("the managed identity's endpoint answered with more than a megabyte")
            if time.monotonic() > deadline:
                raise requests.Timeout
    except BaseException:
        response.close()  # with its connection, of which nobody else knows
        raise
    response._content = bytes(body)  # so that msal finds it read
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status in _TRANSIENT or status >= 500:
        raise Failure(f"the managed identity's endpoint answered with HTTP {status}", again=True)
    if not isinstance(answer, dict) and status != 401:  # Arc's challenge is in a header
        raise Failure(
            f"what the managed identity's endpoint answered (HTTP {status}) cannot be read",
            again=True,
        )


def _unreachable(error: requests.RequestException) -> Failure:
    import requests  # noqa: PLC0415 - slow

    if isinstance(error, requests.Timeout):
        return Failure(
            "the managed identity's endpoint did not answer in time; does this run in Azure?"
        )
    return Failure(
        f"the managed identity's endpoint cannot be reached ({type(error).__name__}); does this "
        "run in Azure?",
        again=True,
    )
