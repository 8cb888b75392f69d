"""Holds and clears over HTTP: what callers may rely on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

from host_runs import TENANT, until, user
from serving import BUSY, PROBLEM, Daemon, hold_path, serving, settings_for
from yarl import URL

from presence_manager.emulator import Emulator, Fault


def shown(emulator: Emulator) -> dict[str, str]:
    return {each.user: f"{each.availability}/{each.activity}" for each in emulator.sessions()}


async def test_put_shows_and_answers_what_is_held(daemon: Daemon, emulator: Emulator) -> None:
    status, hold = await daemon.put(1, "call-17", lease=900, ttl=60)
    assert status == 200
    assert hold.pop("until").endswith("Z")
    assert hold == {
        "tenant": TENANT,
        "user": user(1),
        "hold": "call-17",
        "availability": "Busy",
        "activity": "InACall",
        "state": "shown",
        "lease": 900,
    }
    assert shown(emulator) == {user(1): "Busy/InACall"}


async def test_a_lease_may_be_planned(daemon: Daemon) -> None:
    status, hold = await daemon.put(1, lease="auto")
    assert (status, hold["lease"]) == (200, "auto")


async def test_put_again_is_the_same_hold_and_its_ttl_starts_anew(daemon: Daemon) -> None:
    _, first = await daemon.put(1, ttl=60)
    await asyncio.sleep(0.01)
    status, second = await daemon.put(1, ttl=60)
    assert status == 200
    assert second["until"] > first["until"]
    assert {**first, "until": ""} == {**second, "until": ""}
    assert daemon.presence.status().holds == 1


async def test_put_with_another_pair_changes_the_hold(daemon: Daemon, emulator: Emulator) -> None:
    await daemon.put(1)
    status, hold = await daemon.ask("PUT", hold_path(1), {"availability": "Away"})
    assert (status, hold["activity"]) == (200, "Away")
    assert shown(emulator) == {user(1): "Away/Away"}


async def test_a_hold_with_a_ttl_ends_by_itself(daemon: Daemon, emulator: Emulator) -> None:
    assert (await daemon.put(1, ttl=0.2))[0] == 200
    await until(lambda: not emulator.sessions())


async def test_what_is_not_shown_in_time_is_accepted_and_shown_later(
    daemon: Daemon, emulator: Emulator
) -> None:
    emulator.add_fault(Fault(verb="set"))
    status, hold = await daemon.ask("PUT", hold_path(1) + "?wait=0.05", BUSY)
    assert (status, hold["state"]) == (202, "pending")
    emulator.clear_faults()
    await until(lambda: shown(emulator) == {user(1): "Busy/InACall"})
    status, hold = await daemon.put(1)
    assert (status, hold["state"]) == (200, "shown")


async def test_what_graph_refuses_is_told_in_its_own_words(
    daemon: Daemon, emulator: Emulator
) -> None:
    emulator.add_fault(Fault(verb="set", effect="status", status=403))
    status, problem = await daemon.put(1)
    assert status == 424
    assert problem["type"] == PROBLEM + "hold-refused"
    assert problem["graph_status"] == 403
    assert problem["graph_code"]
    assert problem["graph_request_id"]
    assert daemon.presence.status().holds == 0


async def test_delete_releases_and_is_harmless_when_unknown(
    daemon: Daemon, emulator: Emulator
) -> None:
    await daemon.put(1)
    status, outcome = await daemon.ask("DELETE", hold_path(1))
    assert (status, outcome["kind"], outcome["user"]) == (200, "cleared", user(1))
    assert emulator.sessions() == []
    status, outcome = await daemon.ask("DELETE", hold_path(1))
    assert (status, outcome["kind"], outcome["reason"]) == (200, "never_set", "not held")


async def test_any_text_names_a_hold(daemon: Daemon) -> None:
    names = ["a/b", "\u00fc \u4f1a", "..%2f", "a?b#c", "{x}", "%", "\0", "'; drop table", "x" * 200]
    paths = [URL(hold_path(1, quote(name, "")), encoded=True) for name in names]
    for name, path in zip(names, paths, strict=True):
        status, hold = await daemon.ask("PUT", path, BUSY)
        assert (status, hold.get("hold")) == (200, name), hold
    _, page = await daemon.ask("GET", f"/v1/sessions?user={user(1)}")
    assert sorted(hold["key"] for hold in page["sessions"][0]["holds"]) == sorted(names)
    for path in paths:
        assert (await daemon.ask("DELETE", path))[1]["reason"] != "not held"
    assert daemon.presence.status().holds == 0


async def test_another_daemon_of_the_ledger_releases_it(emulator: Emulator, tmp_path: Path) -> None:
    settings = settings_for(emulator, tmp_path / "ledger.db")
    async with serving(settings) as one, serving(settings) as other:
        assert (await one.put(1))[0] == 200
        status, outcome = await other.ask("DELETE", hold_path(1))
        assert (status, outcome["kind"]) == (200, "cleared")


async def test_clear_ends_all_holds_of_a_user(daemon: Daemon, emulator: Emulator) -> None:
    await daemon.put(1, "one")
    await daemon.put(1, "two")
    path = f"/v1/tenants/{TENANT}/users/{user(1)}/clear"
    status, outcome = await daemon.ask("POST", path)
    assert (status, outcome["kind"]) == (200, "cleared")
    status, outcome = await daemon.ask("POST", path, {"deadline": 5})
    assert (status, outcome["kind"]) == (200, "already_gone")
    assert daemon.presence.status().holds == 0


WRONG: list[tuple[str, object, int, str]] = [
    (hold_path(1), {"availability": "Busy", "activity": "Away"}, 422, "invalid-hold"),
    (hold_path(1), {"availability": "busy"}, 422, "invalid-hold"),
    (hold_path(1), {}, 422, "invalid-hold"),
    (hold_path(1), BUSY | {"tll": 5}, 422, "invalid-hold"),
    (hold_path(1), BUSY | {"ttl": "5"}, 422, "invalid-hold"),
    (hold_path(1), BUSY | {"ttl": True}, 422, "invalid-hold"),
    (hold_path(1), BUSY | {"ttl": 0}, 422, "invalid-hold"),
    (hold_path(1), BUSY | {"lease": 299}, 422, "invalid-hold"),
    (hold_path(1), [], 422, "invalid-hold"),
    (hold_path(1, "x" * 201), BUSY, 422, "invalid-hold"),
    (hold_path(1, tenant="contoso.com"), BUSY, 422, "invalid-hold"),
    ("/v1/tenants/default/users/anna@contoso.com/holds/1", BUSY, 422, "invalid-hold"),
    (hold_path(1) + "?wait=-1", BUSY, 400, "invalid-request"),
    (hold_path(1) + "?wait=nan", BUSY, 400, "invalid-request"),
    (hold_path(1) + "?wait=1&wait=2", BUSY, 400, "invalid-request"),
    (hold_path(1) + "?waits=1", BUSY, 400, "invalid-request"),
]


async def test_what_cannot_be_held_is_said_before_anything_is_sent(
    daemon: Daemon, emulator: Emulator
) -> None:
    for path, body, status, kind in WRONG:
        found, problem = await daemon.ask("PUT", path, body)
        assert (found, problem["type"]) == (status, PROBLEM + kind), (path, body)
        assert problem["detail"]
    assert emulator.requests == 0


async def test_default_needs_a_tenant_in_the_settings(emulator: Emulator) -> None:
    settings = settings_for(emulator).model_copy(update={"tenant_id": ""})
    async with serving(settings) as daemon:
        status, problem = await daemon.put(1)
        assert (status, problem["type"]) == (422, PROBLEM + "invalid-hold")
        assert (await daemon.ask("PUT", hold_path(1, tenant=TENANT), BUSY))[0] == 200


async def test_what_the_ledger_cannot_keep_is_not_sent(daemon: Daemon, emulator: Emulator) -> None:
    await daemon.presence._ledger.close()
    status, problem = await daemon.put(1)
    assert (status, problem["type"]) == (503, PROBLEM + "ledger")
    assert emulator.sessions() == []


async def test_puts_of_one_hold_at_the_same_time_are_one_hold(
    daemon: Daemon, emulator: Emulator
) -> None:
    answers = await asyncio.gather(*(daemon.put(1) for _ in range(30)))
    assert {status for status, _ in answers} == {200}
    assert daemon.presence.status().holds == 1
    emulator.add_fault(Fault(verb="set", status=403))
    answers = await asyncio.gather(*(daemon.put(2) for _ in range(30)))
    assert {status for status, _ in answers} == {424}  # all are told, not the first alone
    emulator.clear_faults()
    both = [daemon.put(1), daemon.ask("DELETE", hold_path(1))]
    for status, _ in await asyncio.gather(*both):
        assert status in (200, 202, 409)
    await daemon.ask("DELETE", hold_path(1))
    assert daemon.presence.status().holds == 0
    assert emulator.sessions() == []
