"""``$batch``: every rule of the page, over a real socket."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from yarl import URL

from presence_manager.emulator import Emulator

from .client import (
    ALICE,
    BOB,
    Client,
    Clock,
    by_id,
    clear_item,
    item,
    set_body,
    set_item,
    set_url,
    user,
)


async def test_twenty_items_are_answered_singly(graph: Client, emulator: Emulator) -> None:
    answer = await graph.batch(*(set_item(number) for number in range(20)))
    assert answer.status == 200
    answers = by_id(answer)
    assert {name: each["status"] for name, each in answers.items()} == {
        str(number): 200 for number in range(20)
    }
    # Presence actions have nothing to say, so an item has no body.
    assert all("body" not in each for each in answers.values())
    assert len(emulator.sessions()) == 20
    assert (emulator.requests, emulator.operations) == (1, 20)
    assert all(entry.in_batch and entry.answered for entry in emulator.journal)


async def test_answers_come_in_no_order_and_the_same_one_for_a_seed(
    session: aiohttp.ClientSession,
) -> None:
    orders = []
    for seed in (1, 1, 2):
        async with Emulator(seed=seed) as emulator:
            graph = Client(emulator, session)
            answer = await graph.batch(*(set_item(number) for number in range(20)))
            orders.append([each["id"] for each in answer.json["responses"]])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != [str(number) for number in range(20)]


async def test_each_item_has_its_own_fate(graph: Client) -> None:
    answer = await graph.batch(
        set_item(1),
        clear_item(2),
        item("bad", set_url(BOB), set_body(activity="Busy")),
        item("upn", set_url("bob@contoso.com"), set_body()),
        item("where", "/nowhere", {}),
        item("how", set_url(BOB), set_body(), method="PATCH"),
        {"id": "read", "method": "GET", "url": f"/users/{BOB}/presence"},
        item("inner", "/$batch", {"requests": [set_item(3)]}),
        item("version", f"/v1.0{set_url(BOB)}", set_body()),
    )
    assert answer.status == 200
    answers = by_id(answer)
    assert {name: each["status"] for name, each in answers.items()} == {
        "1": 200,
        "2": 404,
        "bad": 400,
        "upn": 400,
        "where": 404,
        "how": 405,
        "read": 200,
        "inner": 404,
        "version": 404,
    }
    assert answers["2"]["body"]["error"]["code"] == "NotFound"
    assert answers["2"]["body"]["error"]["innerError"]["request-id"]
    assert answers["read"]["body"]["availability"] == "Offline"


@pytest.mark.parametrize("name", [f"../users/{BOB}", f"%2e%2e%2f{BOB}", f"x/../{BOB}", "a#b"])
async def test_an_id_in_an_item_cannot_change_the_route(
    graph: Client, emulator: Emulator, name: str
) -> None:
    answer = await graph.batch(item("1", set_url(name), set_body()))
    assert by_id(answer)["1"]["status"] == 400
    assert not emulator.sessions()


@pytest.mark.parametrize("path", ["/v1.0/$batch", "/v1.0/%24batch", "/beta/$batch"])
async def test_spellings_of_the_path(graph: Client, path: str) -> None:
    url = URL(graph.emulator.graph_url + path, encoded=True)
    headers = {"Authorization": f"Bearer {graph.token}"}
    body = {"requests": [set_item(1)]}
    async with graph.session.post(url, json=body, headers=headers) as response:
        assert response.status == 200


WITHOUT_TYPE = item("1", set_url(ALICE), set_body(), headers=None)


@pytest.mark.parametrize(
    "requests",
    [
        None,
        {},
        [],
        ["x"],
        [set_item(number) for number in range(21)],
        [item("a", set_url(ALICE), set_body()), item("A", set_url(BOB), set_body())],
        [set_item(1), set_item(2, id=None)],
        [set_item(1, id=1)],
        [set_item(1, id="")],
        [set_item(1, method=None)],
        [set_item(1, method="post")],
        [set_item(1, url=None)],
        [set_item(1, url="")],
        [set_item(1, url="https://graph.microsoft.com/v1.0" + set_url(ALICE))],
        [set_item(1, url="//graph.microsoft.com" + set_url(ALICE))],
        [set_item(1, headers=[])],
        [set_item(1), WITHOUT_TYPE],
        [set_item(1, headers={"Content-Type": "text/plain"})],
        [item("1", set_url(ALICE), None)],
        [item("1", set_url(ALICE), None, headers=None)],
        [set_item(1, dependsOn="2")],
        [set_item(1, dependsOn=["2"])],
        [set_item(1, dependsOn=["1"])],
        [set_item(1, dependsOn=["2"]), set_item(2, dependsOn=["1"])],
    ],
)
async def test_a_malformed_batch_is_refused_whole(
    graph: Client, emulator: Emulator, requests: Any
) -> None:
    answer = await graph.ask("POST", "/v1.0/$batch", {"requests": requests})
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert emulator.operations == 0
    assert not emulator.sessions()


async def test_a_batch_that_is_no_json(graph: Client) -> None:
    for data in (b"", b"[", b"[]", b"null"):
        headers = {"Content-Type": "application/json"}
        answer = await graph.ask("POST", "/v1.0/$batch", data=data, headers=headers)
        assert (answer.status, answer.code) == (400, "BadRequest")


async def test_header_names_have_no_case(graph: Client) -> None:
    answer = await graph.batch(set_item(1, headers={"content-type": "Application/JSON; x=y"}))
    assert by_id(answer)["1"]["status"] == 200


async def test_dependants_of_a_failure_are_not_run(graph: Client, emulator: Emulator) -> None:
    answer = await graph.batch(
        set_item(3, dependsOn=["2"]),
        set_item(2, dependsOn=["1"]),
        clear_item(1),
        set_item(5, dependsOn=["4"]),
        set_item(4),
    )
    assert {name: each["status"] for name, each in by_id(answer).items()} == {
        "1": 404,
        "2": 424,
        "3": 424,
        "4": 200,
        "5": 200,
    }
    assert {session.user for session in emulator.sessions()} == {user(4), user(5)}


async def test_parents_run_before_children_wherever_they_stand(graph: Client) -> None:
    for _ in range(5):
        answer = await graph.batch(
            item(
                "clear",
                f"/users/{ALICE}/presence/clearPresence",
                {"sessionId": set_body()["sessionId"]},
                dependsOn=["SET"],
            ),
            item("set", set_url(ALICE), set_body()),
        )
        assert [each["status"] for each in answer.json["responses"]] == [200, 200]


async def test_items_are_throttled_singly(session: aiohttp.ClientSession, clock: Clock) -> None:
    async with Emulator(limit=5, clock=clock) as emulator:
        graph = Client(emulator, session)
        answer = await graph.batch(*(set_item(number) for number in range(8)))
        assert answer.status == 200
        refused = [each for each in answer.json["responses"] if each["status"] == 429]
        assert len(refused) == 3
        for each in refused:
            assert each["headers"]["Retry-After"] == "30"
            assert each["body"]["error"]["code"] == "TooManyRequests"
            assert each["body"]["error"]["innerError"]["code"] == "429"
        assert (emulator.operations, emulator.refused) == (8, 3)
        assert len(emulator.sessions()) == 5


async def test_an_old_page_said_that_the_outer_status_is_424(
    session: aiohttp.ClientSession, clock: Clock
) -> None:
    async with Emulator(limit=1, clock=clock, outer_424=True) as emulator:
        graph = Client(emulator, session)
        assert (await graph.batch(set_item(1))).status == 200
        answer = await graph.batch(set_item(2))
        assert answer.status == 424
        assert by_id(answer)["2"]["status"] == 429


async def test_the_batch_itself_costs_nothing(session: aiohttp.ClientSession, clock: Clock) -> None:
    async with Emulator(limit=2, clock=clock) as emulator:
        graph = Client(emulator, session)
        for _ in range(5):
            assert (await graph.batch()).status == 400
        assert {
            each["status"] for each in by_id(await graph.batch(set_item(1), set_item(2))).values()
        } == {200}
