"""Signing in: msal itself, against the emulated authority, over real TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jwt
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from presence_manager.emulator import Emulator, Fault

from .client import APP, OTHER_APP, OTHER_TENANT, TENANT, Client
from .test_door import claims_of

SECRET = "s3cret"  # the fixture's
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Pair:
    key: str
    certificate: str
    sha1: str


def make_pair() -> Pair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = sign(key.public_key(), key)
    return Pair(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        certificate.fingerprint(hashes.SHA1()).hex(),
    )


def sign(public: Any, key: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an application")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


@pytest.fixture(autouse=True)
def _only_our_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    # requests lets these beat the `verify` of its session, and so of msal.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def pair() -> Pair:
    return make_pair()


@pytest.fixture(scope="session")
def other_pair() -> Pair:
    return make_pair()


async def sign_in(
    emulator: Emulator,
    credential: Any,
    *,
    app: str = APP,
    tenant: str = TENANT,
    capabilities: list[str] | None = None,
    challenge: str | None = None,
    scope: str | None = None,
) -> dict[str, Any]:
    def blocking() -> dict[str, Any]:
        # msal never closes the session that it makes itself, and a warning is an error here.
        with requests.Session() as http:
            http.verify = emulator.ca_file
            client = msal.ConfidentialClientApplication(
                app,
                authority=f"{emulator.authority_url}/{tenant}",
                client_credential=credential,
                instance_discovery=False,
                http_client=http,
                client_capabilities=capabilities,
            )
            result: dict[str, Any] = client.acquire_token_for_client(
                [scope or f"{emulator.graph_url}/.default"], claims_challenge=challenge
            )
            return result

    return await asyncio.to_thread(blocking)


@dataclass(frozen=True)
class Authority:
    emulator: Emulator
    session: aiohttp.ClientSession

    async def ask(self, tenant: str = TENANT, **form: str) -> tuple[int, dict[str, Any]]:
        whole = {
            "grant_type": "client_credentials",
            "client_id": APP,
            "client_secret": SECRET,
            "scope": f"{self.emulator.graph_url}/.default",
        } | form
        url = f"{self.emulator.authority_url}/{tenant}/oauth2/v2.0/token"
        data = {name: value for name, value in whole.items() if value}
        trust = ssl.create_default_context(cafile=self.emulator.ca_file)
        async with self.session.post(url, data=data, ssl=trust) as answer:
            return answer.status, await answer.json()


@pytest.fixture
def authority(emulator: Emulator, session: aiohttp.ClientSession) -> Authority:
    return Authority(emulator, session)


async def test_msal_signs_in_by_secret(emulator: Emulator, graph: Client) -> None:
    result = await sign_in(emulator, SECRET)
    assert result["token_type"] == "Bearer"
    assert result["expires_in"] == 3599
    graph.token = result["access_token"]
    assert claims_of(graph.token)["iss"] == f"{emulator.authority_url}/{TENANT}/v2.0"
    assert (await graph.set()).status == 200
    assert [(s.tenant, s.app) for s in emulator.sessions()] == [(TENANT, APP)]
    assert emulator.token_requests == 2


@pytest.mark.parametrize("legacy", [False, True])
async def test_msal_signs_in_by_certificate(
    emulator: Emulator, graph: Client, pair: Pair, legacy: bool
) -> None:
    emulator.add_app(OTHER_APP, certificate_pem=pair.certificate)
    credential = (
        {"private_key": pair.key, "thumbprint": pair.sha1}
        if legacy
        else {"private_key": pair.key, "public_certificate": pair.certificate}
    )
    result = await sign_in(emulator, credential, app=OTHER_APP)
    graph.token = result["access_token"]
    assert (await graph.set(sessionId=OTHER_APP)).status == 200


async def test_a_certificate_that_is_not_registered(
    emulator: Emulator, pair: Pair, other_pair: Pair
) -> None:
    emulator.add_app(OTHER_APP, certificate_pem=pair.certificate)
    credential = {"private_key": other_pair.key, "public_certificate": other_pair.certificate}
    result = await sign_in(emulator, credential, app=OTHER_APP)
    assert result["error"] == "invalid_client"
    assert result["error_codes"] == [700027]


async def test_a_wrong_secret_in_msals_hands(emulator: Emulator) -> None:
    result = await sign_in(emulator, "wrong")
    assert result["error"] == "invalid_client"
    assert result["error_description"].startswith("AADSTS7000215: ")


async def test_a_day_for_those_who_can_be_challenged(emulator: Emulator, graph: Client) -> None:
    result = await sign_in(emulator, SECRET, capabilities=["CP1"])
    graph.token = result["access_token"]
    assert claims_of(graph.token)["xms_cc"] == ["CP1"]
    assert result["expires_in"] == 86_399
    emulator.revoke(None)
    answer = await graph.set()
    challenge = answer.headers["WWW-Authenticate"]
    claims = jwt.utils.base64url_decode(challenge.split('claims="')[1].rstrip('"')).decode()
    result = await sign_in(emulator, SECRET, capabilities=["CP1"], challenge=claims)
    graph.token = result["access_token"]
    newer = json.loads(claims)["access_token"]["nbf"]["value"]
    assert int(str(claims_of(graph.token)["nbf"])) >= int(newer)
    assert (await graph.set()).status == 200


@pytest.mark.parametrize(
    ("changes", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": ""}, 401, "invalid_client", 7000216),
        ({"client_id": OTHER_APP}, 400, "unauthorized_client", 700016),
        ({"client_id": "x"}, 400, "unauthorized_client", 700016),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"grant_type": ""}, 400, "invalid_request", 900144),
        ({"scope": "https://graph.microsoft.com/User.Read"}, 400, "invalid_scope", 1002012),
        ({"scope": ""}, 400, "invalid_scope", 1002012),
        ({"scope": "https://example.com/.default"}, 400, "invalid_resource", 500011),
        ({"claims": "{"}, 400, "invalid_request", 50146),
        ({"claims": "[]"}, 400, "invalid_request", 50146),
    ],
)
async def test_refusals_in_the_words_of_entra(
    authority: Authority, changes: Mapping[str, str], status: int, error: str, code: int
) -> None:
    answered, document = await authority.ask(**changes)
    assert (answered, document["error"], document["error_codes"]) == (status, error, [code])
    assert document["error_description"].startswith(f"AADSTS{code}: ")
    assert {"trace_id", "correlation_id", "timestamp"} <= document.keys()


@pytest.mark.parametrize("tenant", ["contoso.onmicrosoft.com", "common", "x"])
async def test_a_tenant_that_is_none(authority: Authority, tenant: str) -> None:
    status, document = await authority.ask(tenant)
    assert (status, document["error_codes"]) == (400, [90002])


async def test_only_the_tenants_there_are(session: aiohttp.ClientSession) -> None:
    async with Emulator(tenants=[TENANT], apps={APP: SECRET}) as emulator:
        authority = Authority(emulator, session)
        assert (await authority.ask())[0] == 200
        assert (await authority.ask(OTHER_TENANT))[1]["error_codes"] == [90002]
        with pytest.raises(ValueError, match="tenant"):
            await sign_in(emulator, SECRET, tenant=OTHER_TENANT)


async def test_an_application_of_some_tenants(emulator: Emulator, authority: Authority) -> None:
    emulator.add_app(OTHER_APP, secret="x", tenants=[OTHER_TENANT])
    good = await authority.ask(OTHER_TENANT, client_id=OTHER_APP, client_secret="x")
    bad = await authority.ask(TENANT, client_id=OTHER_APP, client_secret="x")
    assert good[0] == 200
    assert bad[1]["error_codes"] == [700016]


@pytest.mark.parametrize("scope", ["https://graph.microsoft.com/.default", None])
async def test_scopes_for_this_graph(emulator: Emulator, scope: str | None) -> None:
    assert "access_token" in await sign_in(emulator, SECRET, scope=scope)


def assertion(
    pair: Pair, audience: str, *, algorithm: str = "PS256", headers: Any = None, **changes: Any
) -> str:
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": OTHER_APP,
        "sub": OTHER_APP,
        "jti": "1",
        "nbf": now,
        "exp": now + 600,
    } | changes
    if headers is None:
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        mark = jwt.utils.base64url_encode(certificate.fingerprint(hashes.SHA256())).decode()
        headers = {"x5t#S256": mark}
    return jwt.encode(claims, pair.key, algorithm=algorithm, headers=headers)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"algorithm": "RS256"}, None),
        ({"algorithm": "PS384"}, 5002738),
        ({"headers": {}}, 700027),
        ({"headers": {"x5t": "x"}}, 700027),
        ({"aud": "https://login.microsoftonline.com/x/oauth2/v2.0/token"}, 700023),
        ({"aud": ["x"]}, 700023),
        ({"iss": APP}, 700021),
        ({"sub": APP}, 700021),
        ({"exp": int(time.time()) - 3_600}, 700024),
        ({"nbf": int(time.time()) + 3_600}, 700024),
        ({"exp": None}, 50027),
    ],
)
async def test_what_an_assertion_must_say(
    emulator: Emulator,
    authority: Authority,
    pair: Pair,
    changes: Mapping[str, Any],
    code: int | None,
) -> None:
    emulator.add_app(OTHER_APP, certificate_pem=pair.certificate)
    audience = f"{emulator.authority_url}/{TENANT}/oauth2/v2.0/token"
    form = {"client_id": OTHER_APP, "client_secret": "", "client_assertion_type": ASSERTION}
    signed = assertion(pair, audience, **changes)
    status, document = await authority.ask(**form, client_assertion=signed)
    if code is None:
        assert status == 200
    else:
        assert (status, document["error"]) == (401, "invalid_client")
        assert document["error_codes"] == [code]


async def test_an_assertion_that_another_key_signed(
    emulator: Emulator, authority: Authority, pair: Pair, other_pair: Pair
) -> None:
    emulator.add_app(OTHER_APP, certificate_pem=pair.certificate)
    audience = f"{emulator.authority_url}/{TENANT}/oauth2/v2.0/token"
    form = {"client_id": OTHER_APP, "client_secret": "", "client_assertion_type": ASSERTION}
    claimed = Pair(other_pair.key, pair.certificate, pair.sha1)
    for algorithm in ("PS256", "RS256"):
        signed = assertion(claimed, audience, algorithm=algorithm)
        status, document = await authority.ask(**form, client_assertion=signed)
        assert (status, document["error_codes"]) == (401, [700027])
    for nonsense in ("x", "x.y.z", "a.b", "é.é.é", "e30.W10.e30"):
        status, document = await authority.ask(**form, client_assertion=nonsense)
        assert (status, document["error_codes"]) == (401, [50027])


def test_only_rsa_certificates_are_registered() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = sign(key.public_key(), key).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(ValueError, match="RSA"):
        Emulator().add_app(APP, certificate_pem=pem)
    with pytest.raises(ValueError, match="GUID"):
        Emulator().add_app("app", secret="x")


async def test_faults_of_the_sign_in(emulator: Emulator, authority: Authority) -> None:
    emulator.add_fault(Fault(verb="token", status=503, times=1))
    emulator.add_fault(Fault(verb="token", effect="throttle", retry_after=7, times=1))
    emulator.add_fault(Fault(verb="token", effect="unauthorized", times=1))
    emulator.add_fault(Fault(verb="token", effect="reset", times=1))
    assert (await authority.ask())[0] == 503
    assert (await authority.ask())[0] == 429
    status, document = await authority.ask()
    assert (status, document["error"]) == (401, "invalid_client")
    with pytest.raises(aiohttp.ClientError):
        await authority.ask()
    assert (await authority.ask())[0] == 200


async def test_the_authority_is_not_served_in_plain(
    emulator: Emulator, session: aiohttp.ClientSession
) -> None:
    url = f"{emulator.graph_url}/{TENANT}/oauth2/v2.0/token"
    async with session.post(url, data={}) as answer:
        assert answer.status == 401
    assert emulator.token_requests == 0
