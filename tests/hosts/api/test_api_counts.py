"""How many sessions and outcomes, what is looked for, and how the daemon says that it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from host_runs import APP, TENANT, until, user
from serving import BUSY, PROBLEM, Daemon, hold_path, serving, settings_for

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Known, Session, Step, Tally
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.api import counting

OTHER = "7a000000-0000-4000-8000-000000000002"
NONE = {"availability": None, "activity": None, "due": 0}


async def put_rows(daemon: Daemon, *rows: tuple[int, Known, dict[str, Any]]) -> None:
    """Write sessions that nobody holds, of which nobody will take care."""
    lane = LaneId(daemon.presence.settings.graph.base_url, APP, OTHER)
    steps = [
        Step(
            0, Session(key=Key(lane, user(number)), version=1, owner="nobody", known=known, **more)
        )
        for number, known, more in rows
    ]
    assert not await daemon.metered.ledger.put(steps)


async def test_sessions_are_counted_by_tenant_state_and_pair(
    daemon: Daemon, emulator: Emulator
) -> None:
    await daemon.put(1)
    await daemon.put(2)
    await daemon.ask("PUT", hold_path(1, tenant=OTHER), BUSY)
    emulator.add_fault(Fault(verb="set", user=user(3), effect="hang"))
    await daemon.ask("PUT", hold_path(3) + "?wait=0", BUSY)
    await put_rows(
        daemon,
        (7, Known.UNSURE, {}),
        (8, Known.SHOWN, {"pair": PAIRS[1], "due": inf}),
        (9, Known.ABSENT, {}),  # nothing is left of it
    )
    status, found = await daemon.ask("GET", "/v1/sessions/counts")
    assert status == 200
    busy = {"availability": "Busy", "activity": "InACall", "due": 0}
    assert sorted(found["counts"], key=str) == sorted(
        [
            {"tenant": TENANT, "state": "shown", "sessions": 2} | busy,
            {"tenant": TENANT, "state": "pending", "sessions": 1} | NONE,
            {"tenant": OTHER, "state": "shown", "sessions": 1} | busy,
            {"tenant": OTHER, "state": "clearing", "sessions": 1} | NONE | {"due": 0},
            {"tenant": OTHER, "state": "clearing", "sessions": 1} | busy,
        ],
        key=str,
    )


async def test_many_watchers_are_one_count(daemon: Daemon, monkeypatch: Any) -> None:
    counted = daemon.metered.presence.pages.tally
    asked = []

    async def tally(due_by: float) -> list[Tally]:
        asked.append(due_by)
        return await counted(due_by)

    monkeypatch.setattr(daemon.metered.presence.pages, "tally", tally)
    monkeypatch.setattr(counting, "COUNT_EVERY", 1e9)
    answers = await asyncio.gather(*(daemon.ask("GET", "/v1/sessions/counts") for _ in range(20)))
    await daemon.put(1)
    answers.append(await daemon.ask("GET", "/v1/sessions/counts"))
    assert answers == [(200, {"counts": []})] * 21
    assert len(asked) == 1


async def test_what_is_looked_for(daemon: Daemon, emulator: Emulator) -> None:
    for number in range(1, 5):
        await daemon.put(number, f"call-{number}")
    emulator.add_fault(Fault(verb="set", user=user(0xAB), effect="hang"))
    await daemon.ask("PUT", hold_path(0xAB, "a call&more") + "?wait=0", BUSY)
    await put_rows(daemon, (2, Known.UNSURE, {}))
    for query, found in {
        "search=call-": [1, 2, 3, 4],
        "search=CALL-": [],
        "search=all%26m": [0xAB],
        f"search={user(2)[:-1]}": [1, 2, 3, 4, 2],
        f"search={user(0xAB).upper()}": [0xAB],
        "state=pending": [0xAB],
        "state=shown&search=call-3": [3],
        "state=unsure": [],
        "state=clearing": [2],
        f"state=clearing&tenant={TENANT}": [],
        f"user={user(2)}&search=call": [2],
        f"user={user(2)}&state=clearing": [2],
        f"user={user(2)}&state=pending": [],
    }.items():
        status, page = await daemon.ask("GET", "/v1/sessions?" + query)
        assert status == 200
        assert [each["user"] for each in page["sessions"]] == [user(n) for n in found], query
    _, page = await daemon.ask("GET", "/v1/sessions?search=call-&limit=3")
    _, rest = await daemon.ask("GET", page["next"])
    assert [each["user"] for each in rest["sessions"]] == [user(4)]
    assert rest["next"] is None
    assert (await daemon.ask("GET", "/v1/sessions?state=held"))[0] == 400
    assert (await daemon.ask("GET", "/v1/sessions?search="))[0] == 400


async def test_outcomes_are_counted_by_time_and_kind(daemon: Daemon, emulator: Emulator) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    for number in range(1, 4):
        await daemon.put(number)
    emulator.add_fault(Fault(verb="clear", user=user(3), status=400, code="BadRequest"))
    await daemon.ask("POST", "/v1/drain")
    since = before.isoformat().replace("+00:00", "Z")
    status, found = await daemon.ask("GET", f"/v1/outcomes/counts?since={since}&interval=3600")
    assert status == 200
    at = before.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert found == {
        "since": at,
        "interval": 3600.0,
        "counts": [
            {"at": at, "kind": "cleared", "outcomes": 2},
            {"at": at, "kind": "failed", "outcomes": 1},
        ],
    }
    _, found = await daemon.ask("GET", "/v1/outcomes/counts")
    assert sum(each["outcomes"] for each in found["counts"]) == 3
    _, found = await daemon.ask("GET", "/v1/outcomes/counts?since=2100-01-01T00:00:00Z")
    assert found["counts"] == []
    for query in ("since=2020-01-01T00:00:00Z", "interval=0.5", "since=0001-01-01T00:00:00Z"):
        status, problem = await daemon.ask("GET", "/v1/outcomes/counts?" + query)
        assert (status, problem["type"]) == (400, PROBLEM + "invalid-request"), query


async def test_the_status_needs_no_token(emulator: Emulator) -> None:
    async with serving(settings_for(emulator, http={"token": "t" * 40})) as daemon:
        await until(lambda: TENANT in daemon.metered.tokens.last)
        status, found = await daemon.ask("GET", "/v1/status")
        assert (status, found["state"], found["faults"]) == (200, "open", [])
        assert found["tokens"] is True
        assert (await daemon.ask("GET", "/v1/sessions/counts"))[0] == 401
        headers = {"Authorization": "Bearer " + "t" * 40}
        await daemon.ask("POST", "/v1/drain", headers=headers)
        _, found = await daemon.ask("GET", "/v1/status")
        assert (found["state"], found["faults"]) == ("draining", ["it is being drained"])
