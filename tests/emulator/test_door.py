"""Tokens at Graph's door: who is let in, and in what words the others are sent away."""

from __future__ import annotations

import base64
import json
import re

import aiohttp
import pytest

from presence_manager.emulator import Emulator

from .client import ALICE, APP, OTHER_APP, TENANT, Client, Clock, set_body, set_item, set_url


def claims_of(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    claims: dict[str, object] = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return claims


def test_a_token_looks_real(clock: Clock) -> None:
    emulator = Emulator(clock=clock)
    claims = claims_of(emulator.token(TENANT.upper(), APP, lifetime=60))
    assert claims["tid"] == TENANT
    assert claims["appid"] == APP
    assert claims["roles"] == ["Presence.ReadWrite.All"]
    assert claims["exp"] == int(clock.now) + 60
    assert "xms_cc" not in claims
    assert claims_of(emulator.token(TENANT, APP, cp1=True))["xms_cc"] == ["CP1"]


def test_ids_are_guids() -> None:
    emulator = Emulator()
    for tenant, app in (("contoso.com", APP), (TENANT, "my-app")):
        with pytest.raises(ValueError, match="not a GUID"):
            emulator.token(tenant, app)


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic eDp5", "bearer x", "Bearer x.y.z"])
async def test_no_token(graph: Client, header: str) -> None:
    answer = await graph.ask(
        "POST", f"/v1.0{set_url(ALICE)}", set_body(), headers={"Authorization": header}
    )
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationToken")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="", authorization_uri=')
    assert answer.json["error"]["innerError"]["request-id"] == answer.headers["request-id"]


async def test_a_garbled_token(graph: Client, emulator: Emulator) -> None:
    header, payload, signature = graph.token.split(".")
    forged = base64.urlsafe_b64encode(
        json.dumps({**claims_of(graph.token), "appid": OTHER_APP}).encode()
    ).decode()
    for token in (
        graph.token[:-2],
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}.{payload}.é",
        f"{header}.{forged.rstrip('=')}.{signature}",
        graph.token + "A",
    ):
        assert (await Client(emulator, graph.session, token).set()).status == 401
    assert (await graph.set()).status == 200


async def test_a_token_is_over_at_its_expiry_exactly(graph: Client, emulator: Emulator) -> None:
    graph.token = emulator.token(TENANT, APP, lifetime=60)
    emulator.move_clock(59.0)
    assert (await graph.set()).status == 200
    emulator.move_clock(1.0)
    assert (await graph.set()).status == 401


async def test_the_role_decides_after_the_body_does(graph: Client, emulator: Emulator) -> None:
    reader = Client(
        emulator, graph.session, emulator.token(TENANT, APP, roles=["Presence.Read.All"])
    )
    answer = await reader.set()
    assert (answer.status, answer.code) == (403, "Forbidden")
    assert (await reader.set(activity="Busy")).status == 400
    assert (await reader.clear()).status == 403
    assert await reader.shown() == ("Offline", "Offline")
    nobody = Client(emulator, graph.session, emulator.token(TENANT, APP, roles=[]))
    assert (await nobody.ask("GET", f"/v1.0/users/{ALICE}/presence")).status == 403


async def test_tenant_and_application_come_from_the_token(
    graph: Client, emulator: Emulator
) -> None:
    other = Client(emulator, graph.session, emulator.token(TENANT, OTHER_APP))
    await graph.set()
    assert (await other.clear()).status == 400
    assert (await other.clear(sessionId=OTHER_APP)).status == 404
    assert (await other.set(sessionId=OTHER_APP)).status == 200
    assert {(s.tenant, s.app) for s in emulator.sessions()} == {(TENANT, APP), (TENANT, OTHER_APP)}


async def test_a_revoked_token_is_challenged_only_with_cp1(
    graph: Client, emulator: Emulator, clock: Clock
) -> None:
    able = Client(emulator, graph.session, emulator.token(TENANT, APP, cp1=True))
    emulator.revoke(None)
    answer = await graph.set()
    assert answer.status == 401
    assert "claims" not in answer.headers["WWW-Authenticate"]
    answer = await able.set()
    header = answer.headers["WWW-Authenticate"]
    assert answer.status == 401
    assert 'error="insufficient_claims"' in header
    found = re.search(r'claims="([^"]+)"', header)
    assert found is not None
    assert json.loads(base64.b64decode(found[1])) == {
        "access_token": {"nbf": {"essential": True, "value": str(int(clock.now))}}
    }
    graph.token = emulator.token(TENANT, APP)
    assert (await graph.set()).status == 200


async def test_one_token_can_be_revoked(graph: Client, emulator: Emulator) -> None:
    other = Client(emulator, graph.session)
    emulator.revoke(graph.token)
    assert (await graph.set()).status == 401
    assert (await other.set()).status == 200


async def test_a_batch_is_turned_away_whole(graph: Client, emulator: Emulator) -> None:
    emulator.revoke(None)
    answer = await graph.batch(set_item(1), set_item(2))
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationToken")
    assert (emulator.turned_away, emulator.operations) == (1, 0)


async def test_a_ready_token_outlives_a_restart(session: aiohttp.ClientSession) -> None:
    async with Emulator() as first:
        token = first.token(TENANT, APP)
    async with Emulator() as second:
        assert (await Client(second, session, token).set()).status == 200
