"""The control endpoints, as a test in another process uses them."""

from __future__ import annotations

from typing import Any

import pytest

from presence_manager.emulator import Emulator

from .client import ALICE, APP, BOB, TENANT, Client


async def control(graph: Client, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    url = f"{graph.emulator.graph_url}/_emulator/{path}"
    async with graph.session.request(method, url, json=body) as answer:
        return answer.status, await answer.json()


async def test_ready(graph: Client) -> None:
    assert await control(graph, "GET", "ready") == (200, {"ready": True})


async def test_sessions_come_and_go(graph: Client, emulator: Emulator) -> None:
    document = {"tenant": TENANT, "app": APP, "user": ALICE, "lease": 60}
    assert await control(graph, "POST", "sessions", document) == (200, {"put": True})
    status, [session] = await control(graph, "GET", "sessions")
    assert status == 200
    assert (session["user"], session["availability"]) == (ALICE, "Busy")
    path = f"sessions/{TENANT}/{APP}/{ALICE}"
    assert await control(graph, "DELETE", path) == (200, {"dropped": True})
    assert await control(graph, "DELETE", path) == (200, {"dropped": False})
    assert emulator.sessions() == []


async def test_journal_and_statistics(graph: Client) -> None:
    await graph.set()
    await graph.set(BOB)
    _, entries = await control(graph, "GET", "journal")
    assert [entry["user"] for entry in entries] == [ALICE, BOB]
    assert entries[0]["applied"] is entries[0]["answered"] is True
    assert len((await control(graph, "GET", f"journal?user={BOB}"))[1]) == 1
    assert len((await control(graph, "GET", "journal?since=1"))[1]) == 1
    assert await control(graph, "GET", "stats") == (
        200,
        {
            "requests": 2,
            "token_requests": 0,
            "turned_away": 0,
            "operations": 2,
            "refused": 0,
            "sessions": 2,
        },
    )


async def test_the_clock(graph: Client, emulator: Emulator) -> None:
    await graph.set()
    status, document = await control(graph, "POST", "clock", {"move": 300})
    assert (status, document["now"]) == (200, emulator.now())
    assert emulator.sessions() == []


async def test_faults(graph: Client) -> None:
    assert (await control(graph, "POST", "faults", {"verb": "set", "status": 503}))[0] == 200
    assert (await graph.set()).status == 503
    assert (await control(graph, "DELETE", "faults"))[0] == 200
    assert (await graph.set()).status == 200


async def test_revoking(graph: Client, emulator: Emulator) -> None:
    other = emulator.token(TENANT, APP)
    await control(graph, "POST", "revoke", {"token": other})
    assert (await graph.set()).status == 200
    await control(graph, "POST", "revoke")
    assert (await graph.set()).status == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "ready", None, 404),
        ("POST", "clock", {}, 400),
        ("POST", "clock", {"move": -1}, 400),
        ("POST", "clock", [], 400),
        ("POST", "faults", {"colour": "red"}, 400),
        ("POST", "faults", {"effect": "explode"}, 400),
        ("POST", "sessions", {"tenant": "x", "app": APP, "user": ALICE}, 400),
        ("POST", "sessions", {"colour": "red"}, 400),
        ("GET", "journal?since=x", None, 400),
        ("DELETE", "sessions/a/b/c", None, 400),
    ],
)
async def test_what_is_wrong_is_said(
    graph: Client, method: str, path: str, body: Any, status: int
) -> None:
    answered, document = await control(graph, method, path, body)
    assert answered == status
    assert document["error"]


async def test_it_counts_as_no_request(graph: Client, emulator: Emulator) -> None:
    await control(graph, "GET", "ready")
    assert emulator.requests == 0
