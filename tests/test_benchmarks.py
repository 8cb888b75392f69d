"""The benchmark itself: its Graph is true, its judge is just, its runner runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from benchmarks import process, runner, scenarios, server
from benchmarks.alone import Figure
from benchmarks.chart import svg
from benchmarks.graph.faults import Resets
from benchmarks.graph.http import Malformed, Reader
from benchmarks.graph.ids import APP, TOKEN, user_id
from benchmarks.graph.limit import Limit
from benchmarks.judge import Judgement, in_words, judge
from benchmarks.report import markdown
from benchmarks.runner import Record, run_scenario, run_side_by_side
from benchmarks.scenarios import Scenario

USER = user_id(0)
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


# -- the server -----------------------------------------------------------------------------


class Client(NamedTuple):
    http: aiohttp.ClientSession
    url: str

    async def control(self, what: str, given: Any = None) -> Any:
        how = {"method": "GET"} if given is None else {"method": "POST", "json": given}
        async with self.http.request(url=f"{self.url}/control/{what}", **how) as answer:
            assert answer.status == 200
            return json.loads(await answer.read())

    async def clear(self, user: int) -> tuple[int, str | None]:
        url = f"{self.url}/v1.0/users/{user_id(user)}/presence/clearPresence"
        async with self.http.post(url, json={"sessionId": APP}) as answer:
            return answer.status, answer.headers.get("Retry-After")

    async def batch(self, users: range) -> list[dict[str, Any]]:
        requests = [
            {
                "id": str(user),
                "method": "POST",
                "url": f"/users/{user_id(user)}/presence/clearPresence",
                "body": {"sessionId": APP},
            }
            for user in users
        ]
        async with self.http.post(f"{self.url}/v1.0/$batch", json={"requests": requests}) as answer:
            assert answer.status == 200
            return json.loads(await answer.read())["responses"]


@asynccontextmanager
async def graph(users: int = 1, **plan: Any) -> AsyncIterator[Client]:
    listening, url = await server.serve()
    async with listening, aiohttp.ClientSession(headers=HEADERS) as http:
        client = Client(http, url)
        await client.control("configure", plan)
        await client.control("sessions", {"users": users})
        yield client


def request(body: bytes, header: str) -> bytes:
    path = f"/v1.0/users/{USER}/presence/clearPresence"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n{header}\r\n\r\n"
    return head.encode() + body


def chunked(*pieces: bytes) -> bytes:
    body = b"".join(b"%X;x=y\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return request(body + b"0\r\n\r\n", "Transfer-Encoding: chunked")


CHUNKED = chunked(b'{"ses', b'sionId": "app"', b"}")
WHOLE = request(b'{"sessionId": "app"}', "Content-Length: 20")


@pytest.mark.parametrize("data", [CHUNKED, WHOLE])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_body_is_read_however_it_arrives(data: bytes, step: int) -> None:
    reader, found = Reader(), []
    stream = data + WHOLE
    for start in range(0, len(stream), step):
        reader.feed(stream[start : start + step])
        while (one := reader.next()) is not None:
            found.append(one)
    assert [json.loads(one.body) for one in found] == [{"sessionId": "app"}] * 2
    assert all(one.method == "POST" and one.authorized for one in found)


@pytest.mark.parametrize("header", ["Content-Length: many", "Transfer-Encoding: chunked"])
def test_what_is_no_body_is_malformed(header: str) -> None:
    reader = Reader()
    reader.feed(request(b"zz\r\n", header))
    with pytest.raises(Malformed):
        reader.next()


async def test_a_chunked_request_is_carried_out() -> None:
    async with graph() as client:
        port = int(client.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chunked(b'{"sessionId"', b':"' + APP.encode() + b'"}'))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        truth = await client.control("truth")
    assert truth["live"] == 0
    assert truth["users"][USER]["journal"][0][1:] == ["clear", 200, True, True]


async def test_who_has_no_token_or_no_path_is_sent_away() -> None:
    async with graph() as client:
        url = f"{client.url}/v1.0/users/{USER}/presence/clearPresence"
        async with client.http.post(url, headers={"Authorization": ""}) as answer:
            assert answer.status == 401
        async with client.http.post(f"{client.url}/v1.0/me") as answer:
            assert answer.status == 404
        async with client.http.get(url) as answer:
            assert answer.status == 405
        assert (await client.control("counters"))["live"] == 1


def test_the_limit_is_a_true_sliding_window() -> None:
    limit = Limit(3, 30.0)
    assert [limit.take("lane", now) for now in (0.0, 1.0, 2.0)] == [0, 0, 0]
    assert limit.take("other", 2.0) == 0
    assert limit.take("lane", 3.0) == 28  # the refused one counts, so two must leave: at 31
    assert limit.take("lane", 31.0) == 0
    assert limit.take("lane", 31.5) == 2  # 2, 3, 31 and this one: two must leave, at 33


def test_the_limit_can_fall_and_be_shared() -> None:
    lowered = Limit(10, 30.0, schedule=[(0.5, 2)])
    assert [bool(lowered.take("lane", now)) for now in (0.0, 0.1, 0.2, 0.5)] == [0, 0, 0, 1]
    shared = Limit(4, 30.0, stolen=2)
    assert [bool(shared.take("lane", now)) for now in (0.0, 0.1, 0.2)] == [0, 0, 1]


async def test_the_limit_refuses_exactly_what_is_too_much() -> None:
    async with graph(users=30, limit=14, window=30.0) as client:
        found = [await client.clear(user) for user in range(10)]
        assert found == [(200, None)] * 10
        items = await client.batch(range(10, 30))
        assert sorted(item["status"] for item in items) == [200] * 4 + [429] * 16
        waits = {item["headers"]["Retry-After"] for item in items if item["status"] == 429}
        assert waits == {"30"}
        status, wait = await client.clear(29)
        assert (status, wait) == (429, "30")
        counters = await client.control("counters")
    assert (counters["requests"], counters["http_requests"]) == (31, 12)
    assert (counters["refused"], counters["live"]) == (17, 16)


@pytest.mark.parametrize(
    ("plan", "live", "journal"),
    [
        ({"p_reset_after": 1.0}, True, [["clear", 200, True, False]]),
        ({"p_reset_before": 1.0}, False, []),
    ],
)
async def test_a_reset_after_or_before_it_was_applied(
    plan: dict[str, float], live: bool, journal: list[Any]
) -> None:
    async with graph(**plan) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.clear(0)
        known = (await client.control("truth"))["users"][USER]
    assert known["live"] is not live
    assert [entry[1:] for entry in known["journal"]] == journal


def test_resets_are_dealt_evenly() -> None:
    import random

    resets = Resets(0.02, 0.02, random.Random(3))
    drawn = [resets.draw() for _ in range(500)]
    assert (drawn.count("after"), drawn.count("before")) == (10, 10)


# -- the judge ------------------------------------------------------------------------------

DELIVERED = [0.0, "clear", 200, True, True]
LOST = [0.0, "clear", 200, True, False]
REFUSED = [0.0, "clear", 429, False, True]
NOT_THERE = [1.0, "clear", 404, False, True]


@pytest.mark.parametrize(
    ("kind", "live", "journal", "verdict"),
    [
        ("cleared", False, [DELIVERED], Judgement()),
        ("cleared", False, [REFUSED, DELIVERED], Judgement()),
        ("cleared", False, [LOST, NOT_THERE], Judgement(invented=1)),
        ("cleared", False, [LOST], Judgement(invented=1)),
        ("cleared", False, [], Judgement(invented=1)),
        ("already_gone", False, [NOT_THERE], Judgement()),
        ("already_gone", False, [LOST, NOT_THERE], Judgement(misnamed=1)),
        ("already_gone", False, [DELIVERED, NOT_THERE], Judgement(misnamed=1)),
        ("gone_after_retry", False, [LOST, NOT_THERE], Judgement()),
        ("gone_after_retry", True, [REFUSED], Judgement(alive=1, left=1)),
        ("cleared", True, [DELIVERED], Judgement(alive=1, left=1)),
        ("failed", True, [REFUSED], Judgement(left=1)),
        ("unfinished", False, [LOST], Judgement()),
        (None, False, [DELIVERED], Judgement(unreported=1)),
        (None, True, [], Judgement(left=1, unreported=1)),
    ],
)
def test_the_judge(kind: str | None, live: bool, journal: list[Any], verdict: Judgement) -> None:
    truth = {"users": {USER: {"live": live, "journal": journal}}}
    found = judge([USER], {} if kind is None else {USER: kind}, truth)
    assert found == verdict
    assert found.wrong == verdict.alive + verdict.invented + verdict.misnamed
    assert bool(in_words(found)) is (found != Judgement())


def test_the_judge_knows_nothing_of_a_user_that_was_never_asked_for() -> None:
    assert judge([USER], {USER: "cleared"}, {"users": {}}) == Judgement(invented=1)


# -- the runner -----------------------------------------------------------------------------


def quiet(_: str) -> None:
    pass


def test_ours_naive_and_floor_through_the_runner() -> None:
    three = ("ours", "naive", "floor")
    scenario = Scenario(name="no-latency", about="", users=60, contenders=three)
    records = run_scenario(scenario, three, runs=1, warm_up=False, say=quiet)
    assert [record.contender for record in records] == list(three)
    for record in records:
        assert (record.failed, record.judgement) == ("", Judgement())
        assert record.figure("requests") == 60
    page = markdown(records, [Figure("idle", "CPU", 0.1, "0.1 s")], {"office365": "office365"}, 1)
    assert page.count("| no-latency | ") == 3
    assert "- `office365` was left out: office365 is not installed." in page
    assert svg(records).count("<rect class=") == 1 + 3


def test_a_contender_that_raises_has_failed() -> None:
    scenario = Scenario(
        name="faults", about="", users=20, plan={"p_reset_before": 1.0}, contenders=("floor",)
    )
    told: list[str] = []
    (record,) = run_scenario(scenario, ("ours", "floor"), runs=2, warm_up=True, say=told.append)
    assert record.runs == []
    assert "Error" in record.failed or "Disconnected" in record.failed
    assert "| faults | floor | failed |" in markdown([record], [], {}, 1)


def test_those_that_wait_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(scenario: Scenario, contenders: list[str], **_: Any) -> list[Record]:
        return [Record(scenario.name, contenders[0])]

    monkeypatch.setattr(runner, "run_scenario", answer)
    waiting = [each for each in scenarios.SCENARIOS if each.waits]
    found = [records[0] for records in run_side_by_side(waiting, ("ours", "naive"), quiet)]
    assert ("throttled-1500", "naive") in {(each.scenario, each.contender) for each in found}
    assert len(found) == len(waiting) + 1


def test_what_is_not_installed_is_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scenarios.MODULES, "naive", ("no_such_module",))
    told: list[str] = []
    assert runner.installed(("ours", "naive"), told.append) == ("ours",)
    assert told == ["naive is left out: no_such_module is not installed (pip install '.[bench]')"]


def test_no_settings_from_outside_reach_a_contender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENCE_GRAPH__BUDGET", "1")
    assert not any(name.startswith("PRESENCE_") for name in process.environment())


def test_the_best_peer_leaves_nobody_shown() -> None:
    def record(contender: str, seconds: float, **bad: int) -> Record:
        judgement = dict.fromkeys(Judgement.__slots__, 0) | bad
        figures = ("cpu", "peak_mib", "requests", "refused")
        run = {"seconds": seconds, "judgement": judgement} | dict.fromkeys(figures, 1.0)
        return Record("faults", contender, [run])

    records = [record("ours", 1.0), record("naive", 0.5, left=3), record("office365", 2.0)]
    page = markdown(records, [], {}, 1)
    assert "| faults | ours | 1.000 |  | 0.50 (office365) |" in page
    assert "- `naive`: faults: 3 left shown." in page
    assert "- `ours`: nothing." in page
