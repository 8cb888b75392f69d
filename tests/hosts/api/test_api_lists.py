"""Pages, cursors and streams of what is held and of what became of the rest; tenants, metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from host_runs import TENANT, until, user
from serving import BUSY, PROBLEM, Daemon, hold_path, serving, settings_for

from presence_manager import HoldRequest, Settings
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.api import readiness

OTHER = "7a000000-0000-4000-8000-000000000002"
NDJSON = {"Accept": "application/x-ndjson"}


async def hold_many(daemon: Daemon, count: int) -> None:
    await daemon.presence.hold_many(HoldRequest(user(n), "Busy") for n in range(1, count + 1))


async def pages(daemon: Daemon, path: str, name: str) -> list[list[Any]]:
    found, link = [], path
    while link:
        status, page = await daemon.ask("GET", link)
        assert status == 200
        found.append(page[name])
        link = page["next"]
    return found


async def test_pages_of_sessions_follow_one_another(daemon: Daemon) -> None:
    await hold_many(daemon, 5)
    found = await pages(daemon, "/v1/sessions?limit=2&tenant=" + TENANT, "sessions")
    assert [len(page) for page in found] == [2, 2, 1]
    assert [each["user"] for page in found for each in page] == [user(n) for n in range(1, 6)]
    assert {each["known"] for page in found for each in page} == {"shown"}
    _, exact = await daemon.ask("GET", "/v1/sessions?limit=5")
    assert exact["next"] is None


async def test_sessions_of_one_user_in_every_tenant(daemon: Daemon) -> None:
    await hold_many(daemon, 3)
    await daemon.ask("PUT", hold_path(2, tenant=OTHER) + "?wait=0", BUSY)
    _, page = await daemon.ask("GET", f"/v1/sessions?user={user(2).upper()}")
    assert [each["tenant"] for each in page["sessions"]] == [TENANT, OTHER]
    _, page = await daemon.ask("GET", f"/v1/sessions?user={user(2)}&tenant={TENANT}")
    assert [each["tenant"] for each in page["sessions"]] == [TENANT]
    _, page = await daemon.ask("GET", f"/v1/sessions?user={user(9)}")
    assert page == {"sessions": [], "next": None}


async def test_all_of_them_a_line_each(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("presence_manager.hosts.api.lists.LONGEST_PAGE", 4)
    await hold_many(daemon, 10)
    _, text = await daemon.ask("GET", "/v1/sessions", headers=NDJSON)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [each["user"] for each in lines] == [user(n) for n in range(1, 11)]
    await daemon.ask("POST", "/v1/drain")
    _, text = await daemon.ask("GET", "/v1/outcomes", headers=NDJSON)
    lines = [json.loads(line) for line in text.splitlines()]
    assert {each["user"] for each in lines} == {user(n) for n in range(1, 11)}


async def test_outcomes_are_filtered_and_paged(daemon: Daemon, emulator: Emulator) -> None:
    await hold_many(daemon, 4)
    emulator.add_fault(Fault(verb="clear", user=user(4), status=400, code="BadRequest"))
    _, report = await daemon.ask("POST", "/v1/drain")
    assert report["counts"] == {"cleared": 3, "failed": 1}
    found = await pages(daemon, f"/v1/outcomes?limit=3&sweep={report['sweep_id']}", "outcomes")
    assert [len(page) for page in found] == [3, 1]
    at = found[0][0]["at"]
    for query, count in {
        "kind=failed": 1,
        f"user={user(1)}": 1,
        f"tenant={OTHER}": 0,
        "sweep=none": 0,
        f"since={at}": 4,
        "since=2100-01-01T00:00:00Z": 0,
    }.items():
        _, page = await daemon.ask("GET", "/v1/outcomes?" + query)
        assert len(page["outcomes"]) == count, query


async def test_what_asks_for_no_list(daemon: Daemon) -> None:
    for path in (
        "/v1/sessions?limit=0",
        "/v1/sessions?limit=1001",
        "/v1/sessions?limit=ten",
        "/v1/sessions?user=anna",
        "/v1/sessions?cursor=abc",
        "/v1/sessions?cursor=!",
        "/v1/sessions?cursor=MQ",  # 1
        "/v1/sessions?cursor=WyJcdWQ4MDAiLCJhIl0",  # a lone surrogate
        "/v1/outcomes?cursor=LTE",  # -1
        "/v1/outcomes?cursor=dHJ1ZQ",  # true
        "/v1/outcomes?cursor=" + "W1" * 200,
        "/v1/outcomes?kind=gone",
        "/v1/outcomes?since=2026-11-24T09:30:00",  # no zone
        "/v1/outcomes?colour=red",
    ):
        status, problem = await daemon.ask("GET", path)
        assert (status, problem["type"]) == (400, PROBLEM + "invalid-request"), path


async def test_tenants_say_how_their_lanes_are(daemon: Daemon) -> None:
    assert (await daemon.ask("GET", "/v1/tenants"))[1]["tenants"] == []
    await hold_many(daemon, 3)
    status, found = await daemon.ask("GET", "/v1/tenants")
    assert status == 200
    [lane] = found["tenants"]
    assert lane["tenant"] == TENANT
    assert (lane["held"], lane["waiting"], lane["in_flight"]) == (3, 0, 0)
    assert 1 <= lane["sent"] <= lane["used"] <= lane["budget"]
    assert lane["closed_for"] == 0


async def test_a_tenant_that_graph_refuses_says_for_how_long(
    daemon: Daemon, emulator: Emulator
) -> None:
    emulator.add_fault(Fault(effect="throttle", retry_after=30))
    await daemon.ask("PUT", hold_path(1) + "?wait=0", BUSY)

    async def lane() -> dict[str, Any]:
        return dict((await daemon.ask("GET", "/v1/tenants"))[1]["tenants"][0])

    await until(lambda: daemon.presence.status().lanes[0].refused)
    found = await lane()
    assert 25 < found["closed_for"] <= 30
    assert found["waiting"] == 1
    assert 25 < (await metrics(daemon))[f'gate_closed_seconds{{tenant="{TENANT}"}}'] <= 30


async def metrics(daemon: Daemon) -> dict[str, float]:
    status, text = await daemon.ask("GET", "/metrics")
    assert status == 200
    lines = re.findall(r"^presence_manager_(\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


async def test_metrics_count_what_happens(daemon: Daemon) -> None:
    await daemon.put(1)
    await hold_many(daemon, 3)
    before = await metrics(daemon)
    assert before[f'sessions_held{{tenant="{TENANT}"}}'] == 3
    assert before["holds"] == 4
    assert before["taking_holds"] == 1
    assert before['attempts_total{status="200",verb="set"}'] >= 3
    assert before["ledger_commit_seconds_count"] >= 2
    assert before["graph_request_seconds_count"] >= 2
    route = "/v1/tenants/{tenant}/users/{user}/holds/{hold}"
    assert before[f'http_request_seconds_count{{method="PUT",route="{route}",status="200"}}'] == 1
    await daemon.ask("POST", "/v1/drain")
    await daemon.ask("GET", "/" + "x" * 50)
    after = await metrics(daemon)
    assert after['outcomes_total{kind="cleared"}'] == 3
    assert after["sweep_seconds_count"] == 1
    assert after["taking_holds"] == 0
    assert after[f'renewal_lag_seconds{{tenant="{TENANT}"}}'] == 0
    assert not [name for name in after if "xxx" in name or user(1) in name]


async def test_ready_when_ledger_and_sign_in_are(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LEDGER_EVERY", 0.0)
    async with serving(settings_for(emulator, tmp_path / "ledger.db")) as daemon:
        assert await daemon.ask("GET", "/healthz") == (200, {"status": "alive"})
        await until(lambda: TENANT in daemon.metered.tokens.last)
        assert await daemon.ask("GET", "/readyz") == (200, {"ready": True, "faults": []})
        await daemon.presence._ledger.close()
        status, found = await daemon.ask("GET", "/readyz")
        assert (status, found["ready"]) == (503, False)
        assert "ledger" in found["faults"][0]
        assert (await daemon.ask("GET", "/healthz"))[0] == 200


async def test_not_ready_without_a_sign_in_and_probes_do_not_hammer(emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="token", status=400, code="invalid_client"))
    given = settings_for(emulator).model_dump(exclude_unset=True)
    given |= {"access_token": None, "client_secret": "wr0ng"}
    given["graph"] |= {"authority": emulator.authority_url, "ca_file": emulator.ca_file}
    async with serving(Settings(**given)) as daemon:
        await until(lambda: TENANT in daemon.metered.tokens.last)
        asked = emulator.token_requests
        for _ in range(20):
            status, found = await daemon.ask("GET", "/readyz")
            assert status == 503
            assert "sign-in" in found["faults"][0]
            assert "wr0ng" not in found["faults"][0]
        assert emulator.token_requests == asked
