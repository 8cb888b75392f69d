"""The token endpoint: client credentials, by secret or by certificate, and OpenID discovery.

Sources: *The OAuth 2.0 client credentials flow*, *Microsoft Entra authentication and authorization
error codes*. msal's ``ConfidentialClientApplication`` signs in here as it does at Microsoft.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from aiohttp import web
from cryptography import x509

from .answers import CODES
from .assertions import BadAssertionError, certificate_of, check
from .faults import Fault, Faults
from .judge import WRITER
from .tokens import Tokens
from .values import guid
from .wire import Reply, deliver, response_of

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TOKEN = "/oauth2/v2.0/token"  # noqa: S105 - a path
_DISCOVERY = "/v2.0/.well-known/openid-configuration"
LIFETIME = 3_599.0
LIFETIME_CP1 = 86_399.0
"""A token that can be revoked lives a day: *Continuous access evaluation for workloads*."""


@dataclass(frozen=True, slots=True)
class App:
    """An application that may sign in; ``tenants`` None means every tenant."""

    app_id: str
    secret: str | None = None
    certificate: x509.Certificate | None = None
    tenants: frozenset[str] | None = None


class SignInError(Exception):
    """A sign-in is refused, in the words of Microsoft Entra."""

    def __init__(self, status: int, error: str, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.code, self.message = status, error, code, message


class SignIn:
    """Who may sign in, and the endpoints where they do."""

    def __init__(
        self,
        tokens: Tokens,
        faults: Faults,
        *,
        authority: Callable[[], str],
        tenants: Collection[str] | None,
        closing: asyncio.Event,
    ) -> None:
        self._tokens = tokens
        self._faults = faults
        self._authority = authority
        self._tenants = None if tenants is None else frozenset(t.lower() for t in tenants)
        self._closing = closing
        self._apps: dict[str, list[App]] = {}
        self.requests = 0

    def add(
        self,
        app_id: str,
        *,
        secret: str | None,
        certificate_pem: str | bytes | None,
        tenants: Collection[str] | None,
    ) -> None:
        """Register an application, or one more credential of it."""
        known = guid(app_id)
        if known is None:
            raise ValueError("an application id is a GUID")
        certificate = None if certificate_pem is None else certificate_of(certificate_pem)
        of = None if tenants is None else frozenset(tenant.lower() for tenant in tenants)
        self._apps.setdefault(known, []).append(App(known, secret, certificate, of))

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path belongs to the authority."""
        return path.endswith((_TOKEN, _DISCOVERY))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request to the authority."""
        self.requests += 1
        raw = await request.read()
        path = request.raw_path
        tenant = path.split("/")[1].lower()
        fault: Fault | None = None
        try:
            if guid(tenant) is None or (self._tenants is not None and tenant not in self._tenants):
                raise SignInError(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
            if path.endswith(_DISCOVERY):
                status, document = 200, self._configuration(tenant)
            else:
                fault = self._faults.pick("token", tenant) if self._faults else None
                form = dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
                status, document = 200, self._token(request.method, tenant, form)
        except SignInError as refused:
            status, document = refused.status, _error(refused)
        headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
        if fault is None:
            return response_of(Reply(status, headers, json.dumps(document).encode()))
        reply = _spoiled(fault, Reply(status, headers, json.dumps(document).encode()))
        response, _ = await deliver(request, reply, fault, self._closing)
        return response

    def _configuration(self, tenant: str) -> dict[str, Any]:
        base = f"{self._authority()}/{tenant}"
        return {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}{_TOKEN}",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": None,
        }

    def _token(self, method: str, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
        if method != "POST" or "grant_type" not in form:
            raise SignInError(400, "invalid_request", 900144, "The body must contain 'grant_type'.")
        if form["grant_type"] != "client_credentials":
            raise SignInError(
                400, "unsupported_grant_type", 70003, "Only client_credentials is emulated."
            )
        app = self._authenticate(tenant, form)
        resource, _, default = form.get("scope", "").rpartition("/")
        if default != ".default":
            raise SignInError(400, "invalid_scope", 1002012, "The scope must end with '/.default'.")
        if not self._tokens.accepts_audience(resource):
            raise SignInError(
                400, "invalid_resource", 500011, f"The resource '{resource}' was not found."
            )
        cp1 = _declares_cp1(form.get("claims"))
        lifetime = LIFETIME_CP1 if cp1 else LIFETIME
        token = self._tokens.issue(tenant, app, lifetime=lifetime, roles=(WRITER,), cp1=cp1)
        refresh = {"refresh_in": int(lifetime / 2)} if cp1 else {}
        return {
            "token_type": "Bearer",
            "expires_in": int(lifetime),
            "ext_expires_in": int(lifetime),
            **refresh,
            "access_token": token,
        }

    def _authenticate(self, tenant: str, form: Mapping[str, str]) -> str:
        name = guid(form.get("client_id")) or ""
        known = [
            app for app in self._apps.get(name, ()) if app.tenants is None or tenant in app.tenants
        ]
        if not known:
            raise SignInError(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{name}' was not found in the directory '{tenant}'.",
            )
        if "client_secret" in form:
            if all(app.secret is None or app.secret != form["client_secret"] for app in known):
                raise SignInError(401, "invalid_client", 7000215, "Invalid client secret provided.")
        elif form.get("client_assertion_type") == _ASSERTION:
            base = f"{self._authority()}/{tenant}"
            certificates = [app.certificate for app in known if app.certificate is not None]
            try:
                check(
                    form.get("client_assertion", ""),
                    name,
                    certificates,
                    {f"{base}{_TOKEN}", f"{base}/v2.0"},
                )
            except BadAssertionError as bad:
                raise SignInError(401, "invalid_client", bad.code, bad.message) from None
        else:
            raise SignInError(
                401,
                "invalid_client",
                7000216,
                "'client_assertion', 'client_secret' or 'request' is required.",
            )
        return name


def _declares_cp1(claims: str | None) -> bool:
    """Read the claims parameter; its ``nbf`` needs no check, a new token is always newer."""
    if claims is None:
        return False
    try:
        values = json.loads(claims).get("access_token", {}).get("xms_cc", {}).get("values", [])
        return any(str(value).lower() == "cp1" for value in values)
    except (ValueError, AttributeError, TypeError):
        raise SignInError(
            400, "invalid_request", 50146, "The claims parameter is not valid JSON."
        ) from None


def _error(refused: SignInError) -> dict[str, Any]:
    trace, correlation = str(uuid4()), str(uuid4())
    stamp = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
    return {
        "error": refused.error,
        "error_description": (
            f"AADSTS{refused.code}: {refused.message} Trace ID: {trace} "
            f"Correlation ID: {correlation} Timestamp: {stamp}"
        ),
        "error_codes": [refused.code],
        "timestamp": stamp,
        "trace_id": trace,
        "correlation_id": correlation,
    }


def _spoiled(fault: Fault, true: Reply) -> Reply:
    status = {"throttle": 429, "unauthorized": 401, "status": fault.status}.get(fault.effect)
    if status is None:
        return true
    headers = dict(true.headers)
    if fault.retry_after_header is not None:
        headers["Retry-After"] = fault.retry_after_header
    if fault.html:
        return Reply(status, headers | {"Content-Type": "text/html"}, b"<html>Bad Gateway</html>")
    error = "invalid_client" if status == 401 else fault.code or "temporarily_unavailable"
    refused = SignInError(status, error, 90033, f"A fault was asked for: {CODES.get(status, '')}.")
    return Reply(status, headers, json.dumps(_error(refused)).encode())
