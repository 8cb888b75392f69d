"""One request at a time, over a real socket: what Graph accepts, refuses and says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from presence_manager.emulator import Emulator

from .client import (
    ALICE,
    APP,
    BOB,
    OTHER_APP,
    START,
    TENANT,
    Client,
    Clock,
    set_body,
    set_url,
    user,
)


async def test_set_and_clear_answer_200_with_an_empty_body(graph: Client) -> None:
    answer = await graph.set()
    assert (answer.status, answer.raw) == (200, b"")
    assert await graph.shown() == ("Busy", "InACall")
    answer = await graph.clear()
    assert (answer.status, answer.raw) == (200, b"")
    assert await graph.shown() == ("Offline", "Offline")


async def test_clearing_what_is_not_there_is_404(graph: Client, emulator: Emulator) -> None:
    assert (await graph.clear()).status == 404
    await graph.set()
    emulator.move_clock(300.0)
    answer = await graph.clear()
    assert (answer.status, answer.code) == (404, "NotFound")


async def test_every_answer_has_graphs_headers(graph: Client) -> None:
    mine = "dddddddd-dddd-4ddd-8ddd-dddddddddddd"
    good, bad = (
        await graph.set(),
        await graph.ask(
            "POST", f"/v1.0{set_url('nobody')}", set_body(), headers={"client-request-id": mine}
        ),
    )
    for answer in (good, bad):
        UUID(answer.headers["request-id"])
        assert "ServerInfo" in answer.headers["x-ms-ags-diagnostic"]
        assert answer.headers["Date"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert good.headers["request-id"] != bad.headers["request-id"]
    assert bad.headers["client-request-id"] == mine
    assert bad.json == {
        "error": {
            "code": "BadRequest",
            "message": "The user id in the request URI is not a GUID.",
            "innerError": {
                "date": "2027-01-15T08:00:00",
                "request-id": bad.headers["request-id"],
                "client-request-id": mine,
            },
        }
    }


@pytest.mark.parametrize(
    "pair",
    [
        ("Available", "Available"),
        ("Busy", "InACall"),
        ("Busy", "InAConferenceCall"),
        ("Away", "Away"),
        ("DoNotDisturb", "Presenting"),
    ],
)
async def test_the_five_pairs(graph: Client, pair: tuple[str, str]) -> None:
    assert (await graph.set(availability=pair[0], activity=pair[1])).status == 200
    assert await graph.shown() == pair


@pytest.mark.parametrize(
    "changes",
    [
        {"availability": "Busy", "activity": "Busy"},
        {"availability": "busy", "activity": "inACall"},
        {"availability": "DoNotDisturb", "activity": "DoNotDisturb"},
        {"availability": "BeRightBack", "activity": "BeRightBack"},
        {"availability": "Offline", "activity": "OffWork"},
        {"availability": "Busy", "activity": "InAMeeting"},
        {"availability": ["Busy"]},
        {"availability": None},
        {"activity": None},
        {"activity": ""},
        {"sessionId": None},
        {"sessionId": ""},
        {"sessionId": OTHER_APP},
        {"sessionId": "my-session"},
        {"sessionId": 7},
        {"expirationDuration": "PT4M59S"},
        {"expirationDuration": "PT4H1S"},
        {"expirationDuration": "PT0S"},
        {"expirationDuration": "5 minutes"},
        {"expirationDuration": 300},
    ],
)
async def test_what_set_refuses(
    graph: Client, emulator: Emulator, changes: Mapping[str, Any]
) -> None:
    answer = await graph.set(**changes)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert not emulator.sessions()


async def test_an_unknown_property_is_refused(graph: Client) -> None:
    answer = await graph.set(statusMessage="x")
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert "'statusMessage'" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("duration", "seconds"), [(None, 300.0), ("PT5M", 300.0), ("PT4H", 14_400.0)]
)
async def test_a_lease_runs_from_now(
    graph: Client, emulator: Emulator, duration: str | None, seconds: float
) -> None:
    await graph.set(expirationDuration=duration)
    assert [session.expires_at for session in emulator.sessions()] == [START + seconds]


async def test_ids_are_compared_without_case(graph: Client, emulator: Emulator) -> None:
    await graph.set(ALICE.upper(), sessionId=APP.upper())
    assert [session.user for session in emulator.sessions()] == [ALICE]
    assert (await graph.clear()).status == 200


async def test_an_empty_clear_names_the_field_that_is_missing(graph: Client) -> None:
    path = f"/v1.0/users/{ALICE}/presence/clearPresence"
    for answer in (await graph.ask("POST", path), await graph.ask("POST", path, {})):
        assert answer.code == "InvalidArgument"
        message = answer.json["error"]["message"]
        assert message == "[SessionId]: The SessionId field is required."


async def test_a_body_must_be_json_and_say_so(graph: Client) -> None:
    url = f"/v1.0{set_url(ALICE)}"
    json_type = {"Content-Type": "application/json"}
    assert (await graph.ask("POST", url, data=b"{", headers=json_type)).code == "BadRequest"
    assert (await graph.ask("POST", url, data=b"\xff", headers=json_type)).status == 400
    assert (await graph.ask("POST", url, data=b"[]", headers=json_type)).code == "InvalidArgument"
    answer = await graph.ask("POST", url, data=b"{}", headers={"Content-Type": "text/plain"})
    assert (answer.status, answer.code) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2.0/users/{u}/presence/setPresence", 400),
        ("POST", "/", 400),
        ("POST", "/v1.0", 400),
        ("POST", "/v1.0/users/{u}/presence/setpresence", 404),
        ("POST", "/v1.0/users/{u}/presence/setManualLocation", 404),
        ("POST", "/v1.0/users/{u}/setPresence", 404),
        ("POST", "/v1.0/groups/{u}/presence/setPresence", 404),
        ("POST", "/v1.0/me/presence/setPresence", 400),
        ("GET", "/v1.0/users/{u}/presence/setPresence", 405),
        ("PATCH", "/v1.0/users/{u}/presence/clearPresence", 405),
        ("POST", "/v1.0/users/{u}/presence", 405),
        ("GET", "/v1.0/communications/getPresencesByUserId", 405),
        ("GET", "/v1.0/$batch", 405),
        ("POST", "/v1.0/users/alice@contoso.com/presence/setPresence", 400),
        ("POST", "/v1.0/users/{u}/presence/setPresence/", 400),
        ("POST", "/v1.0//users/{u}/presence/setPresence", 400),
    ],
)
async def test_routes_that_are_none(graph: Client, method: str, path: str, status: int) -> None:
    body = None if method == "GET" else set_body()
    answer = await graph.ask(method, path.format(u=ALICE), body)
    assert answer.status == status
    assert answer.code in {"BadRequest", "ResourceNotFound"}


@pytest.mark.parametrize("version", ["v1.0", "beta"])
async def test_both_versions_share_one_world(graph: Client, version: str) -> None:
    await graph.ask("POST", f"/{version}{set_url(ALICE)}", set_body())
    answer = await graph.ask("GET", f"/{version}/communications/presences/{ALICE}")
    assert (answer.json["id"], answer.json["availability"]) == (ALICE, "Busy")


async def test_preferred_presence(graph: Client, emulator: Emulator) -> None:
    path = f"/v1.0/users/{ALICE}/presence/"
    off = {"availability": "Offline", "activity": "OffWork"}
    busy = {"availability": "Busy", "activity": "Busy"}
    await graph.set(expirationDuration="PT4H")
    assert (await graph.ask("POST", path + "setUserPreferredPresence", off)).status == 200
    assert await graph.shown() == ("Offline", "OffWork")
    assert (await graph.ask("POST", path + "clearUserPreferredPresence", {})).status == 200
    assert await graph.shown() == ("Busy", "InACall")
    for bad in ({}, set_body(), {**off, "sessionId": APP}, {**off, "expirationDuration": "x"}):
        assert (await graph.ask("POST", path + "setUserPreferredPresence", bad)).status == 400
    assert (await graph.ask("POST", path + "clearUserPreferredPresence")).status == 400
    for wanted, days in ((busy, 1), (off, 7)):
        await graph.ask("POST", path + "setUserPreferredPresence", wanted)
        emulator.move_clock(days * 86_400 - 1)
        graph.token = emulator.token(TENANT, APP)
        await graph.set()
        assert (await graph.shown())[1] == wanted["activity"]
        emulator.move_clock(1)
        assert await graph.shown() == ("Busy", "InACall")


async def test_many_presences_at_once(graph: Client) -> None:
    await graph.set(BOB)
    path = "/v1.0/communications/getPresencesByUserId"
    answer = await graph.ask("POST", path, {"ids": [ALICE, BOB]})
    assert [each["availability"] for each in answer.json["value"]] == ["Offline", "Busy"]
    assert (await graph.ask("POST", path, {"ids": [user(n) for n in range(650)]})).status == 200
    answer = await graph.ask("POST", path, {"ids": [user(n) for n in range(651)]})
    assert (answer.status, answer.raw) == (400, b"")
    bodies: list[dict[str, Any]] = [{}, {"ids": []}, {"ids": ["alice"]}, {"ids": ALICE}]
    for bad in bodies:
        assert (await graph.ask("POST", path, bad)).code == "InvalidArgument"


async def test_only_the_users_there_are(session: aiohttp.ClientSession, clock: Clock) -> None:
    async with Emulator(users=[ALICE.upper()], clock=clock) as emulator:
        graph = Client(emulator, session)
        assert (await graph.set()).status == 200
        assert (await graph.set(BOB)).status == 404
        assert (await graph.clear(BOB)).status == 404
        # Reading someone who is not there is no error in the field.
        assert await graph.shown(BOB) == ("PresenceUnknown", "PresenceUnknown")


async def test_the_journal_tells_what_was_judged(graph: Client, emulator: Emulator) -> None:
    await graph.set()
    await graph.set(activity="Busy")
    answer = await graph.clear()
    await graph.clear()
    await graph.shown(BOB)
    told = [(e.verb, e.status, e.applied, e.answered) for e in emulator.journal_for(ALICE)]
    assert told == [
        ("set", 200, True, True),
        ("set", 400, False, True),
        ("clear", 200, True, True),
        ("clear", 404, False, True),
    ]
    entry = emulator.journal[2]
    assert (entry.at, entry.tenant, entry.app, entry.user) == (START, TENANT, APP, ALICE)
    assert entry.request_id == answer.headers["request-id"]
    assert not entry.in_batch
    assert entry.fault is None
    assert emulator.journal[0].availability == "Busy"
    assert emulator.requests == emulator.operations == len(emulator.journal) == 5


async def test_a_long_run_keeps_the_newest_lines(session: aiohttp.ClientSession) -> None:
    async with Emulator(keep=3) as emulator:
        graph = Client(emulator, session)
        for number in range(8):
            await graph.set(user(number))
        assert [entry.user for entry in emulator.journal][-3:] == [user(5), user(6), user(7)]
        assert len(emulator.journal) <= 6
        assert emulator.operations == 8
