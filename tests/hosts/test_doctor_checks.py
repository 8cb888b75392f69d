"""Each check of `presence-manager doctor`, well and with the fault that it is there to find."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cli_runs import APP, OTHER_TENANT, SECRET, TENANT, user
from doctor_rounds import jwt, look, server, settings_of, states

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Known, Session, Step, Wish
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.cli.times import clock_time
from presence_manager.hosts.doctor import held
from presence_manager.hosts.doctor.claims import claims_of
from presence_manager.hosts.doctor.examine import Ask
from presence_manager.ledger import SqliteLedger
from presence_manager.ports import Budget, Draw

ROLE = "Presence.ReadWrite.All"
PLACE = {"place": "warn"}
"""Where tests run in a container, its file system is warned of."""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000, apps={APP: SECRET}) as emulator:
        yield emulator


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open()
    yield ledger
    await ledger.close()


async def fill(ledger: SqliteLedger, lane: LaneId, count: int, *, held: bool = True) -> None:
    now = time.time()
    wishes = (Wish(name="w", owner="", pair=PAIRS[1], lease=600.0, made_at=now),) if held else ()
    rows = [
        Session(
            key=Key(lane, user(number)),
            version=int((now - 7200) * 1e6),
            wishes=wishes,
            known=Known.SHOWN,
            pair=PAIRS[1],
            due=now + 300,
            may_live_until=now + 640,
        )
        for number in range(count)
    ]
    await ledger.put([Step(0, row, wishes=True) for row in rows])


async def test_all_is_well(emulator: Emulator, tmp_path: Path) -> None:
    found = await look(settings_of(emulator, tmp_path))
    assert states(found).items() <= PLACE.items()
    assert list(found) == [
        *("settings", "graph", "authority", "clock", "sign-in", "token", "permission"),
        *("ledger", "place", "space"),
    ]
    assert "not there yet" in found["ledger"].says
    assert "certificate is good for 2" in found["authority"].says or "30" in found["authority"].says
    assert not (tmp_path / "ledger.db").exists()
    assert (emulator.operations, emulator.token_requests) == (0, 2)


async def test_it_changes_nothing(emulator: Emulator, ledger: SqliteLedger, tmp_path: Path) -> None:
    lane = LaneId(emulator.graph_url, APP, TENANT)
    await fill(ledger, lane, 30)
    before = await ledger.get([Key(lane, user(n)) for n in range(30)])
    found = await look(settings_of(emulator, tmp_path))
    assert states(found).items() <= PLACE.items()
    assert found["held"].says == (
        f"30 sessions are held, the oldest for 2 h 00 min: 30 in tenant {TENANT}"
    )
    assert await ledger.get([Key(lane, user(n)) for n in range(30)]) == before
    assert emulator.operations == 0


# -- the network ---------------------------------------------------------------------------


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("graph", "name", "says", "do"),
    [
        ({"base_url": "http://127.0.0.1:PORT"}, "graph", "no connection", "GRAPH__BASE_URL"),
        ({"authority": "https://127.0.0.1:PORT"}, "authority", "no connection", "AUTHORITY"),
        (
            {"base_url": "https://no-such-host.invalid"},
            *("graph", "no-such-host.invalid cannot be looked up", "name resolution"),
        ),
    ],
)
async def test_who_cannot_be_reached(
    emulator: Emulator, tmp_path: Path, graph: dict[str, str], name: str, says: str, do: str
) -> None:
    graph = {key: url.replace("PORT", str(closed_port())) for key, url in graph.items()}
    found = await look(settings_of(emulator, tmp_path, graph=graph, sign_in_timeout=5))
    assert found[name].state == "fail"
    assert says in found[name].says
    assert do in found[name].do
    if name == "graph":
        assert found["clock"].state == "skipped"
    else:
        assert found["sign-in"].state == "fail"
        assert "PRESENCE_GRAPH__AUTHORITY" in found["sign-in"].do


async def test_a_certificate_that_nobody_vouches_for(emulator: Emulator, tmp_path: Path) -> None:
    async with Emulator(tls=True) as other:
        graph = {"base_url": other.graph_url, "authority": other.authority_url}
        found = await look(settings_of(emulator, tmp_path, graph=graph))
    for name in ("graph", "authority"):
        assert found[name].state == "fail"
        assert "is not trusted" in found[name].says
        assert "PRESENCE_GRAPH__CA_FILE" in found[name].do
    assert found["sign-in"].state == "fail"


async def test_a_certificate_that_ends_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator(tls=True, apps={APP: SECRET}) as emulator:
        monkeypatch.setattr("presence_manager.hosts.doctor.network._SOON", 31.0)
        found = await look(settings_of(emulator, tmp_path))
    assert (found["graph"].state, found["authority"].state) == ("warn", "warn")
    assert "its certificate ends in 30 days" in found["graph"].says


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\n\r\n", "warn", "redirect"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "warn", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n" + b"x" * 9_000_000, "ok", "answers"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 900_000, "fail", "is not HTTP"),
        (b"\x1b[31mSSH-2.0\r\n\r\n", "fail", "is not HTTP"),
        (b"", "fail", "the connection ended"),
    ],
)
async def test_answers_of_anybody_are_harmless(
    emulator: Emulator, tmp_path: Path, answer: bytes, state: str, says: str
) -> None:
    async with server(answer) as (origin, asked):
        found = await look(settings_of(emulator, tmp_path, graph={"base_url": origin}))
    assert found["graph"].state == state, found["graph"]
    assert says in found["graph"].says
    assert found["clock"].state == "skipped"
    assert len(asked) <= 2  # aiohttp repeats a GET whose connection ended without a word
    assert b"Authorization" not in asked[0]


async def test_a_server_that_says_nothing(emulator: Emulator, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepted by the kernel, never read
        graph = {"base_url": f"http://127.0.0.1:{silent.getsockname()[1]}", "timeout": 0.2}
        found = await look(settings_of(emulator, tmp_path, graph=graph))
    assert found["graph"].state == "fail"
    assert "no answer in time" in found["graph"].says


async def test_a_proxy_is_named_without_its_password(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as (origin, asked):
        proxy = origin.replace("http://", "http://somebody:hunter2@")
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        graph = {"base_url": "https://graph.example"}
        found = await look(settings_of(emulator, tmp_path, graph=graph))
    assert found["graph"].state == "fail"
    assert "the proxy answered 407" in found["graph"].says
    assert "HTTPS_PROXY" in found["graph"].do
    assert asked[0].startswith(b"CONNECT graph.example:443")
    assert not any("hunter2" in text for finding in found.values() for text in finding)


@pytest.mark.parametrize(
    ("off", "state", "says"),
    [
        (120.0, "warn", "120 s behind Graph's, more than the 30 s"),
        (-90.0, "warn", "90 s ahead of Graph's, more than the 30 s"),
        (20.0, "ok", "20 s behind Graph's"),
    ],
)
async def test_a_clock_that_is_off(tmp_path: Path, off: float, state: str, says: str) -> None:
    async with Emulator(clock=lambda: time.time() + off, apps={APP: SECRET}) as emulator:
        found = await look(settings_of(emulator, tmp_path))
    assert found["clock"].state == state
    # Graph's Date has whole seconds
    near = {says.replace(str(int(abs(off))), str(int(abs(off)) + d)) for d in (-1, 0, 1)}
    assert any(each in found["clock"].says for each in near), found["clock"]
    assert ("NTP" in found["clock"].do) == (state == "warn")


# -- the sign-in -----------------------------------------------------------------------------


async def test_a_wrong_secret(emulator: Emulator, tmp_path: Path) -> None:
    found = await look(settings_of(emulator, tmp_path, client_secret="not-the-secret"))
    assert found["sign-in"].state == "fail"
    assert "AADSTS7000215" in found["sign-in"].says
    assert "secret" in found["sign-in"].do
    assert "not-the-secret" not in found["sign-in"].says
    assert "permission" not in found
    assert emulator.token_requests == 2


async def test_each_tenant_of_the_ledger_is_signed_in_to(
    emulator: Emulator, ledger: SqliteLedger, tmp_path: Path
) -> None:
    await fill(ledger, LaneId(emulator.graph_url, APP, OTHER_TENANT), 1)
    emulator.add_fault(Fault(verb="token", tenant=OTHER_TENANT, status=503))
    found = await look(settings_of(emulator, tmp_path))
    assert OTHER_TENANT in found["sign-in"].says
    assert found["sign-in"].state == "fail"
    assert TENANT in found["permission"].says
    found = await look(settings_of(emulator, tmp_path), Ask(tenant=TENANT))
    assert found["sign-in"].state == "ok"


@pytest.mark.parametrize(
    ("left", "state", "says"),
    [(3000, "ok", "good for 50 min, never renewed"), (100, "warn", "ends in"), (-5, "fail", "ago")],
)
async def test_a_ready_token_ends(
    emulator: Emulator, tmp_path: Path, left: int, state: str, says: str
) -> None:
    token = jwt(exp=int(time.time()) + left, roles=[ROLE], appid=APP, tid=TENANT)
    found = await look(settings_of(emulator, tmp_path, access_token=token))
    assert found["sign-in"].state == state, found["sign-in"]
    assert says in found["sign-in"].says
    assert found["authority"].state == "skipped"


@pytest.mark.parametrize(
    ("claims", "bad", "says"),
    [
        ({"roles": ["User.Read.All"]}, {"permission": "fail"}, "lacks the role"),
        ({"roles": ROLE}, {"permission": "fail"}, "lacks the role"),
        ({"roles": None, "scp": "User.Read"}, {"permission": "fail"}, "delegated"),
        ({"roles": None, "scp": "Presence.ReadWrite"}, {"permission": "warn"}, "that user alone"),
        ({"appid": TENANT}, {"token": "fail"}, "of another application"),
        ({"appid": None, "azp": TENANT}, {"token": "fail"}, "of another application"),
        ({"appid": None, "azp": APP.upper()}, {}, ""),
        ({"tid": OTHER_TENANT}, {"token": "fail"}, "of another tenant"),
        ({"aud": "https://management.azure.com/"}, {"token": "fail"}, "not for this Graph"),
        ({"aud": "00000003-0000-0000-c000-000000000000"}, {}, ""),
        ({"aud": "https://graph.microsoft.com/"}, {}, ""),
        ({"aud": "x", "tid": "y\x1b[2J"}, {"token": "fail"}, "not for this Graph, of another ten"),
    ],
)
async def test_what_a_token_says_of_itself(
    emulator: Emulator, tmp_path: Path, claims: dict[str, object], bad: dict[str, str], says: str
) -> None:
    good = {"aud": emulator.graph_url, "appid": APP, "tid": TENANT, "roles": [ROLE]}
    told = {name: value for name, value in {**good, **claims}.items() if value is not None}
    found = await look(settings_of(emulator, tmp_path, access_token=jwt(**told)))
    assert states(found).items() <= {"authority": "skipped", **PLACE, **bad}.items()
    assert bad.items() <= states(found).items()
    assert all(says in found[name].says for name in bad)


@pytest.mark.parametrize(
    "secret",
    ["opaque-token-of-some-kind", "a.b.c", "..", f"x.{'A' * 70_000}.y", "a.W10.c", "a.8A.c"],
)
async def test_an_opaque_token_is_no_fault(emulator: Emulator, tmp_path: Path, secret: str) -> None:
    assert claims_of(secret) is None
    found = await look(settings_of(emulator, tmp_path, access_token=secret))
    assert (found["token"].state, found["permission"].state) == ("skipped", "skipped")
    assert "opaque" in found["permission"].says


async def test_a_token_of_another_cloud(emulator: Emulator, tmp_path: Path) -> None:
    token = jwt(aud="https://graph.microsoft.com", appid=APP, tid=TENANT, roles=[ROLE])
    graph = {"base_url": "https://no-such-host.invalid"}
    found = await look(settings_of(emulator, tmp_path, access_token=token, graph=graph))
    assert found["token"].state == "fail"
    assert "https://no-such-host.invalid/.default" in found["token"].do


# -- the ledger ------------------------------------------------------------------------------


async def test_a_ledger_that_cannot_be_used(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no ledger " * 100)
    found = await look(settings_of(emulator, tmp_path))
    assert found["ledger"].state == "fail"
    assert str(tmp_path / "ledger.db") in found["ledger"].says
    assert "held" not in found


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
async def test_a_folder_that_cannot_be_written(emulator: Emulator, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        found = await look(settings_of(emulator, tmp_path))
    finally:
        tmp_path.chmod(0o700)
    assert found["ledger"].state == "fail"
    assert "may not write" in found["ledger"].says


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="this system has no /dev/shm")
@pytest.mark.parametrize("there", [False, True])
async def test_a_ledger_in_memory_of_the_machine(emulator: Emulator, there: bool) -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        if there:
            ledger = SqliteLedger(Path(folder, "ledger.db"))
            await ledger.open()
            await ledger.close()
        found = await look(settings_of(emulator, Path(folder)))
    assert found["place"].state == "warn"
    assert "lies on tmpfs, in memory" in found["place"].says
    assert found["place"].do == "Put it on a disk (PRESENCE_LEDGER__URL)"


async def test_a_ledger_that_keeps_nothing(emulator: Emulator, tmp_path: Path) -> None:
    found = await look(settings_of(emulator, tmp_path, ledger={"url": "memory://"}))
    assert (found["place"].state, found["space"].state) == ("warn", "skipped")
    assert found["place"].do.startswith("use sqlite:///")
    assert found["held"].says == "no session is held"


@pytest.mark.parametrize(("free", "state"), [(150_000_000, "warn"), (1_000_000, "fail")])
async def test_a_full_disk(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    usage = type(shutil.disk_usage(tmp_path))(10**9, 10**9 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    found = await look(settings_of(emulator, tmp_path))
    assert found["space"].state == state
    assert "make room" in found["space"].do


async def test_the_living_and_the_dead(
    emulator: Emulator, ledger: SqliteLedger, tmp_path: Path
) -> None:
    await ledger.enter("me")
    found = await look(settings_of(emulator, tmp_path))
    assert (found["owners"].state, found["owners"].says) == ("ok", "1 process on the ledger")
    (tmp_path / "ledger.db.owners" / "dead.lock").touch()
    found = await look(settings_of(emulator, tmp_path))
    assert found["owners"].state == "warn"
    assert "1 process died" in found["owners"].says
    assert "presence-manager recover" in found["owners"].do


async def test_what_is_not_ours_or_nobodys(
    emulator: Emulator, ledger: SqliteLedger, tmp_path: Path
) -> None:
    await fill(ledger, LaneId("https://graph.microsoft.com", APP, TENANT), 3)
    await fill(ledger, LaneId(emulator.graph_url, APP, TENANT), 2, held=False)
    found = await look(settings_of(emulator, tmp_path))
    assert (found["strangers"].state, found["held"].state) == ("warn", "warn")
    assert found["strangers"].says.startswith("3 sessions in the ledger are of another")
    assert "2 of them nobody holds" in found["held"].says
    assert "recover" in found["held"].do


# -- what is held ----------------------------------------------------------------------------


async def test_too_much_is_held(emulator: Emulator, ledger: SqliteLedger, tmp_path: Path) -> None:
    lane = LaneId(emulator.graph_url, APP, TENANT)
    await fill(ledger, lane, 12_400)
    await fill(ledger, LaneId(emulator.graph_url, APP, OTHER_TENANT), 20)
    short = settings_of(emulator, tmp_path, shutdown={"deadline": 25}, hold={"lease": 600})
    found = await look(short)
    assert found["deadline"].state == "warn"
    assert found["deadline"].says == (
        f"tenant {TENANT}: 12,400 held; 25 s at 1,500 requests in 30 s (50/s) clears 1,375"
    )
    assert found["deadline"].do.startswith("raise PRESENCE_SHUTDOWN__DEADLINE to ")
    needed = int(found["deadline"].do.split()[3])
    assert 200 < needed < 300
    again = settings_of(emulator, tmp_path, shutdown={"deadline": needed}, hold={"lease": 600})
    assert (await look(again))["deadline"].state == "ok"
    assert "12,400 in tenant" in found["held"].says
    await ledger.save_budget(lane, Budget(proven=10_000))
    again = settings_of(emulator, tmp_path, shutdown={"deadline": 60}, hold={"lease": 600})
    assert (await look(again))["deadline"].state == "ok"


def test_how_many_a_deadline_clears(emulator: Emulator, tmp_path: Path) -> None:
    found = settings_of(emulator, tmp_path, hold={"lease": 600})
    # Renewals of 900 sessions use 100 slots of the window.
    assert held.clears(900, 1500, 0.0, found) == 0
    assert held.clears(900, 1500, 0.001, found) == 1400
    assert held.clears(900, 1500, 15.0, found) == 1450
    assert held.clears(900, 1500, 30.0, found) == 1500 + 1400
    assert held.clears(10**6, 1500, 0.001, found) == 750


async def test_a_budget_that_is_used_and_a_door_that_is_shut(
    emulator: Emulator, ledger: SqliteLedger, tmp_path: Path
) -> None:
    lane = LaneId(emulator.graph_url, APP, TENANT)
    now = time.time()
    await ledger.draw(lane, "somebody", Draw(now=now, want=70, limit=100, until=now + 60))
    ahead = now + 86_400.0  # on the clock of who wrote it
    shut = Budget(proven=900, closed_until=ahead + 60, closed_at=ahead)
    await ledger.save_budget(lane, shut)
    found = await look(settings_of(emulator, tmp_path))
    assert found["budget"].state == "warn"
    before, until = found["budget"].says.rsplit(" ", 1)
    assert before.endswith("900 in 30 s (proven), 70 in use, refused by Graph until")
    assert until in [clock_time(now + 60 + passed) for passed in range(20)]
    share = await ledger.draw(lane, "me", Draw(now=now))
    assert sum(count for _, count in share.others) == 70
    assert share.budget == shut
