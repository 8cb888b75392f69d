"""Sweeps and the drain over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from host_runs import TENANT, until, user
from serving import BUSY, PROBLEM, Daemon, hold_path, serving, settings_for

from presence_manager import HoldRequest
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.api import sweeps


async def hold_many(daemon: Daemon, count: int) -> None:
    await daemon.presence.hold_many(HoldRequest(user(n), "Busy") for n in range(1, count + 1))


async def begin(daemon: Daemon, body: object = None) -> str:
    """Begin a sweep; where to look at it."""
    async with daemon.client.post("/v1/sweeps", json=body) as answer:
        assert answer.status == 202, await answer.text()
        location = answer.headers["Location"]
        assert location == "/v1/sweeps/" + (await answer.json())["id"]
        return location


async def ended(daemon: Daemon, location: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            _, sweep = await daemon.ask("GET", location)
            if sweep["state"] != "running":
                return dict(sweep)


async def events(daemon: Daemon, location: str) -> list[tuple[str, Any]]:
    async with daemon.client.get(location + "/events") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        blocks = (await answer.text()).split("\n\n")
    found = []
    for block in blocks:
        if block.startswith("event: "):
            kind, data = block.removeprefix("event: ").split("\ndata: ")
            found.append((kind, json.loads(data)))
    return found


async def test_a_sweep_of_what_this_daemon_holds(daemon: Daemon, emulator: Emulator) -> None:
    await hold_many(daemon, 30)
    sweep = await ended(daemon, await begin(daemon))
    assert sweep["state"] == "ended"
    assert sweep["report"]["ok"]
    assert sweep["report"]["counts"] == {"cleared": 30}
    assert sweep["progress"]["taken"] == sweep["progress"]["done"] == 30
    assert emulator.sessions() == []


async def test_a_sweep_of_these_users_known_or_not(daemon: Daemon) -> None:
    await hold_many(daemon, 2)
    users = [user(1).upper(), {"tenant": TENANT, "user": user(7)}, user(1)]
    sweep = await ended(daemon, await begin(daemon, {"users": users, "deadline": 5}))
    assert sweep["report"]["counts"] == {"cleared": 1, "already_gone": 1}
    assert sweep["deadline"] == 5


async def test_everyone_is_what_every_daemon_of_the_ledger_holds(
    emulator: Emulator, tmp_path: Path
) -> None:
    settings = settings_for(emulator, tmp_path / "ledger.db")
    async with serving(settings) as one, serving(settings) as other:
        await one.put(1)
        await other.put(2)
        assert (await ended(one, await begin(one)))["report"]["counts"] == {"cleared": 1}
        location = await begin(other, {"everyone": True, "tenant": TENANT})
        assert (await ended(other, location))["report"]["counts"] == {"cleared": 1}
        recorded = await ended(one, location)  # another daemon's: the ledger has the outcomes
        assert recorded["state"] == "recorded"
        assert recorded["report"]["counts"] == {"cleared": 1}
        assert (await events(one, location))[-1][0] == "report"


async def test_what_is_no_sweep(daemon: Daemon, emulator: Emulator) -> None:
    for body in (
        {"users": []},
        {"users": ["anna@contoso.com"]},
        {"users": [{"tenant": "contoso.com", "user": user(1)}]},
        {"users": [user(1)], "everyone": True},
        {"everyone": 1},
        {"deadline": 0},
        {"tenant": "contoso"},
        {"user": user(1)},
    ):
        status, problem = await daemon.ask("POST", "/v1/sweeps", body)
        assert (status, problem["type"]) == (422, PROBLEM + "invalid-hold"), body
    for path in ("/v1/sweeps/unknown", "/v1/sweeps/unknown/events"):
        status, problem = await daemon.ask("GET", path)
        assert (status, problem["type"]) == (404, PROBLEM + "not-found")
    assert emulator.requests == 0


async def test_events_tell_progress_and_then_the_report(daemon: Daemon, emulator: Emulator) -> None:
    await hold_many(daemon, 40)
    emulator.add_fault(Fault(verb="clear", effect="status", user=user(1), times=6))
    location = await begin(daemon)
    told = await events(daemon, location)
    kinds = [kind for kind, _ in told]
    assert kinds[-1] == "report"
    assert set(kinds[:-1]) == {"progress"}
    done = [data["done"] for kind, data in told if kind == "progress"]
    assert done == sorted(done)
    assert done[-1] == 40
    assert told[-1][1]["counts"]["cleared"] + told[-1][1]["counts"].get("gone_after_retry", 0) == 40
    assert [kind for kind, _ in await events(daemon, location)] == ["progress", "report"]


async def test_who_goes_away_costs_nothing(daemon: Daemon, emulator: Emulator) -> None:
    await hold_many(daemon, 3)
    emulator.add_fault(Fault(verb="clear"))
    location = await begin(daemon)
    before = len(asyncio.all_tasks())
    for _ in range(5):
        async with daemon.client.get(location + "/events") as answer:
            await answer.content.readany()
            answer.close()
    emulator.clear_faults()
    assert (await ended(daemon, location))["report"]["ok"]
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_problems_are_told_of_each(daemon: Daemon, emulator: Emulator) -> None:
    await hold_many(daemon, 2)
    emulator.add_fault(Fault(verb="clear", user=user(2), status=403, code="Forbidden"))
    report = (await ended(daemon, await begin(daemon)))["report"]
    assert not report["ok"]
    [problem] = report["problems"]
    assert (problem["user"], problem["kind"], problem["status"]) == (user(2), "failed", 403)


async def test_a_sweep_that_the_ledger_fails_says_so(daemon: Daemon) -> None:
    await daemon.put(1)
    await daemon.presence._ledger.close()
    sweep = await ended(daemon, location := await begin(daemon))
    assert (sweep["state"], sweep["report"]) == ("failed", None)
    assert sweep["problem"]["type"] == PROBLEM + "ledger"
    assert [kind for kind, _ in await events(daemon, location)] == ["problem"]


async def test_only_so_many_are_remembered(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "REMEMBERED", 3)
    await daemon.put(1)
    first = await begin(daemon)
    assert (await ended(daemon, first))["state"] == "ended"
    for _ in range(5):
        last = await begin(daemon)
        await ended(daemon, last)
    _, found = await daemon.ask("GET", "/v1/sweeps")
    assert len(found["sweeps"]) == 4  # and the one that ran when the oldest were forgotten
    assert last == "/v1/sweeps/" + found["sweeps"][0]["id"]
    assert (await ended(daemon, first))["state"] == "recorded"


async def test_a_drain_refuses_clears_and_answers_the_same_again(
    daemon: Daemon, emulator: Emulator
) -> None:
    await hold_many(daemon, 5)
    both = [daemon.ask("POST", "/v1/drain"), daemon.ask("POST", "/v1/drain", {"deadline": 3})]
    (status, report), second = await asyncio.gather(*both)
    assert status == 200
    assert report["counts"] == {"cleared": 5}
    assert second == (status, report)
    assert await daemon.ask("POST", "/v1/drain") == (status, report)
    async with daemon.client.put(hold_path(1), json=BUSY) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert (await answer.json())["type"] == PROBLEM + "draining"
    status, found = await daemon.ask("GET", "/readyz")
    assert (status, found["faults"][0]) == (503, "it is being drained")
    assert (await daemon.ask("GET", "/healthz"))[0] == 200
    assert (await daemon.ask("DELETE", hold_path(1)))[0] == 200
    assert emulator.sessions() == []
    assert daemon.task is not None
    assert not daemon.task.done()
    assert await daemon.ended() == 0


async def test_no_hold_slips_past_a_drain(daemon: Daemon, emulator: Emulator) -> None:
    puts = [asyncio.create_task(daemon.put(n)) for n in range(1, 60)]
    await until(lambda: daemon.presence.status().holds)
    status, _ = await daemon.ask("POST", "/v1/drain")
    assert status == 200
    answers = await asyncio.gather(*puts)
    assert {status for status, _ in answers} <= {200, 409, 503}
    assert emulator.sessions() == []
    assert daemon.presence.status().holds == 0
