"""Each effect, as a client meets it on a real socket, and as the journal tells it."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import aiohttp
import pytest

from presence_manager.emulator import Emulator, Fault

from .client import (
    ALICE,
    TENANT,
    Client,
    by_id,
    clear_item,
    set_item,
    user,
)

APPLIED = pytest.mark.parametrize("applied", [False, True])


def told(emulator: Emulator) -> tuple[int | None, bool, bool, str | None]:
    """The newest line: status, applied, answered, fault."""
    entry = emulator.journal[-1]
    return entry.status, entry.applied, entry.answered, entry.fault


def shown(emulator: Emulator) -> bool:
    return bool(emulator.sessions())


@APPLIED
@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 418])
async def test_status(emulator: Emulator, graph: Client, status: int, applied: bool) -> None:
    emulator.add_fault(Fault(status=status, applied=applied, retry_after="2.128", code="x"))
    answer = await graph.set()
    assert (answer.status, answer.code) == (status, "x")
    assert answer.headers["Retry-After"] == "2.128"
    assert shown(emulator) is applied
    assert told(emulator) == (status, applied, True, "status")


async def test_a_page_of_a_proxy(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(status=502, html=True))
    answer = await graph.set()
    assert answer.status == 502
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.raw.startswith(b"<html>")
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("retry_after", [None, 3, 0.249, "Fri, 15 Jan 2027 08:00:02 GMT", "soon"])
async def test_throttle(emulator: Emulator, graph: Client, retry_after: Any) -> None:
    emulator.add_fault(Fault(effect="throttle", retry_after=retry_after))
    answer = await graph.set()
    assert (answer.status, answer.code) == (429, "TooManyRequests")
    expected = None if retry_after is None else str(retry_after)
    assert answer.headers.get("Retry-After") == expected
    assert told(emulator) == (429, False, True, "throttle")
    assert emulator.refused == 1


async def test_unauthorized(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(effect="unauthorized"))
    answer = await graph.set()
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationToken")
    assert not shown(emulator)


@APPLIED
async def test_reset(emulator: Emulator, graph: Client, applied: bool) -> None:
    emulator.add_fault(Fault(effect="reset", applied=applied))
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await graph.set()
    assert shown(emulator) is applied
    assert told(emulator) == (None, applied, False, "reset")


async def test_a_reset_is_a_reset(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(effect="reset"))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(emulator.graph_url[-5:]))
    body = json.dumps({"sessionId": "x"})
    writer.write(
        f"POST /v1.0/users/{ALICE}/presence/clearPresence HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {graph.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_late(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(effect="late", seconds=5.0, times=1))
    with pytest.raises(aiohttp.ClientError):
        await graph.set()
    assert told(emulator) == (None, False, False, "late")
    emulator.move_clock(4.9)
    assert not shown(emulator)
    emulator.move_clock(0.1)
    assert shown(emulator)
    assert told(emulator) == (None, True, False, "late")
    assert [entry.late for entry in emulator.journal] == [False, True]
    assert emulator.operations == 1


async def test_a_late_set_brings_back_what_was_cleared(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(verb="set", effect="late", seconds=5.0))
    with pytest.raises(aiohttp.ClientError):
        await graph.set()
    assert (await graph.clear()).status == 404
    emulator.move_clock(10.0)
    [session] = emulator.sessions()
    # Its lease runs from when it was applied, not from when it was looked at.
    assert session.expires_at == emulator.journal[-1].at + 300
    assert [entry.verb for entry in emulator.journal] == ["set", "clear", "set"]
    assert emulator.journal[-1].at == emulator.journal[0].at + 5.0


async def test_late_operations_happen_in_order_and_before_what_comes_then(
    emulator: Emulator, graph: Client
) -> None:
    emulator.add_fault(Fault(verb="clear", effect="late", seconds=5.0, times=1))
    emulator.add_fault(Fault(verb="set", effect="late", seconds=3.0, times=1))
    for lost in (graph.clear(), graph.set()):
        with pytest.raises(aiohttp.ClientError):
            await lost
    emulator.move_clock(5.0)
    assert (await graph.clear()).status == 404
    assert [(e.verb, e.late, e.applied) for e in emulator.journal[2:]] == [
        ("set", True, True),
        ("clear", True, True),
        ("clear", False, False),
    ]


async def test_any_unapplied_effect_can_be_put_off(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(status=504, delay=2.0, times=1))
    assert (await graph.set()).status == 504
    emulator.move_clock(2.0)
    assert shown(emulator)


@APPLIED
async def test_hang_for_ever(emulator: Emulator, graph: Client, applied: bool) -> None:
    emulator.add_fault(Fault(effect="hang", applied=applied, times=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await graph.set()
    assert shown(emulator) is applied
    assert told(emulator) == (None, applied, False, "hang")
    assert (await graph.set()).status == 200


@APPLIED
async def test_hang_for_a_while(emulator: Emulator, graph: Client, applied: bool) -> None:
    emulator.add_fault(Fault(effect="hang", seconds=0.05, applied=applied))
    answer = await graph.set()
    assert answer.status == (200 if applied else 504)
    assert told(emulator) == (answer.status, applied, True, "hang")


async def test_slow(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(effect="slow", seconds=0.1))
    started = asyncio.get_running_loop().time()
    answer = await graph.clear()
    assert asyncio.get_running_loop().time() - started >= 0.08
    assert (answer.status, answer.code) == (404, "NotFound")
    assert told(emulator) == (404, False, True, "slow")


async def test_a_client_that_gives_up_on_a_slow_answer(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(effect="slow", seconds=60.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await graph.set()
    assert told(emulator) == (200, True, False, "slow")


@APPLIED
@pytest.mark.parametrize("chunked", [False, True])
async def test_cut(emulator: Emulator, graph: Client, applied: bool, chunked: bool) -> None:
    emulator.add_fault(Fault(effect="cut", applied=applied, chunked=chunked))
    with pytest.raises(aiohttp.ClientPayloadError):
        await graph.set()
    assert shown(emulator) is applied
    assert told(emulator) == (None, applied, False, "cut")


@APPLIED
async def test_garbage(emulator: Emulator, graph: Client, applied: bool) -> None:
    emulator.add_fault(Fault(effect="garbage", applied=applied))
    answer = await graph.set()
    assert answer.status == 200
    with pytest.raises(ValueError, match=r"\w"):
        _ = answer.json
    assert shown(emulator) is applied
    assert told(emulator) == (200, applied, True, "garbage")


async def test_stale(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(effect="stale", times=1))
    answer = await graph.set()
    assert answer.status == 200
    assert "Connection" not in answer.headers
    assert told(emulator) == (200, True, True, "stale")
    await asyncio.sleep(0.01)
    assert (await graph.clear()).status == 200


async def test_over_tls_too() -> None:
    async with Emulator(tls=True) as emulator:
        trust = ssl.create_default_context(cafile=emulator.ca_file)
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as secure:
            graph = Client(emulator, secure)
            for effect in ("reset", "cut"):
                emulator.add_fault(Fault(effect=effect, applied=True))
                with pytest.raises(aiohttp.ClientError):
                    await graph.set()
                emulator.clear_faults()
            emulator.add_fault(Fault(effect="stale", times=1))
            assert (await graph.set()).status == 200


async def test_the_throttle_comes_before_any_fault(session: aiohttp.ClientSession) -> None:
    async with Emulator(limit=0) as emulator:
        emulator.add_fault(Fault(effect="reset", applied=True))
        assert (await Client(emulator, session).set()).status == 429
        assert not shown(emulator)


async def test_applying_what_is_refused_applies_nothing(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(status=503, applied=True))
    assert (await graph.clear()).status == 503
    assert told(emulator) == (503, False, True, "status")


# In a batch: what an item suffers, and what the whole does.


async def test_items_suffer_singly(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(verb="set", user=user(1), status=503, retry_after="0.5"))
    emulator.add_fault(Fault(verb="set", user=user(2), effect="throttle", retry_after="7"))
    emulator.add_fault(Fault(verb="set", user=user(3), effect="missing", applied=True))
    emulator.add_fault(Fault(verb="set", user=user(4), effect="missing"))
    emulator.add_fault(Fault(verb="set", user=user(5), effect="duplicate"))
    emulator.add_fault(Fault(verb="set", user=user(6), effect="unauthorized"))
    emulator.add_fault(Fault(verb="set", user=user(7), status=504, applied=True))
    answer = await graph.batch(*(set_item(number) for number in range(9)))
    assert answer.status == 200
    found = [(each["id"], each["status"]) for each in answer.json["responses"]]
    assert sorted(found) == [
        ("0", 200),
        ("1", 503),
        ("2", 429),
        ("5", 200),
        ("5", 200),
        ("6", 401),
        ("7", 504),
        ("8", 200),
    ]
    assert by_id(answer)["1"]["headers"]["Retry-After"] == "0.5"
    assert by_id(answer)["2"]["headers"]["Retry-After"] == "7"
    live = {session.user for session in emulator.sessions()}
    assert live == {user(number) for number in (0, 3, 5, 7, 8)}
    for number, expected in ((3, (None, True, False)), (4, (None, False, False))):
        [entry] = emulator.journal_for(user(number))
        assert (entry.status, entry.applied, entry.answered) == expected
    assert emulator.journal_for(user(8))[0].answered


@pytest.mark.parametrize(
    ("effect", "raised"),
    [("reset", aiohttp.ClientError), ("cut", aiohttp.ClientPayloadError), ("hang", TimeoutError)],
)
async def test_an_item_can_spoil_the_answer_of_its_batch(
    emulator: Emulator, graph: Client, effect: Any, raised: type[Exception]
) -> None:
    emulator.add_fault(Fault(verb="clear", user=user(1), effect=effect))
    with pytest.raises(raised):
        async with asyncio.timeout(0.5 if effect == "hang" else 10.0):
            await graph.batch(set_item(0), clear_item(1), set_item(2))
    assert {session.user for session in emulator.sessions()} == {user(0), user(2)}
    assert {(e.status, e.answered, e.fault) for e in emulator.journal} == {(None, False, effect)}


async def test_a_late_item_loses_the_answer_and_happens_later(
    emulator: Emulator, graph: Client
) -> None:
    emulator.add_fault(Fault(verb="set", user=user(1), effect="late", seconds=1.0))
    with pytest.raises(aiohttp.ClientError):
        await graph.batch(set_item(0), set_item(1))
    assert [session.user for session in emulator.sessions()] == [user(0)]
    emulator.move_clock(1.0)
    assert len(emulator.sessions()) == 2
    assert emulator.journal[-1].in_batch


@APPLIED
@pytest.mark.parametrize("status", [400, 403, 424, 429, 502, 503])
async def test_a_batch_that_fails_whole(
    emulator: Emulator, graph: Client, status: int, applied: bool
) -> None:
    emulator.add_fault(Fault(verb="batch", status=status, retry_after=3, applied=applied, times=1))
    answer = await graph.batch(set_item(1), set_item(2))
    assert answer.status == status
    assert answer.headers["Retry-After"] == "3"
    assert len(emulator.sessions()) == (2 if applied else 0)
    assert {(e.status, e.applied, e.answered, e.fault) for e in emulator.journal} == {
        (status, applied, True, "status")
    }
    assert emulator.operations == 2
    assert (await graph.set()).status == 200


@APPLIED
@pytest.mark.parametrize("effect", ["reset", "cut", "garbage", "hang"])
async def test_a_batch_whose_answer_is_lost(
    emulator: Emulator, graph: Client, effect: Any, applied: bool
) -> None:
    emulator.add_fault(Fault(verb="batch", effect=effect, applied=applied))
    try:
        async with asyncio.timeout(0.5 if effect == "hang" else 10.0):
            answer = await graph.batch(set_item(1), set_item(2))
    except (aiohttp.ClientError, TimeoutError):
        assert effect != "garbage"
    else:
        assert (effect, answer.status) == ("garbage", 200)
    assert len(emulator.sessions()) == (2 if applied else 0)
    lost = effect != "garbage"
    assert {(e.status, e.applied, e.answered, e.fault) for e in emulator.journal} == {
        (None if lost else 200, applied, not lost, effect)
    }


async def test_a_late_batch(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(verb="batch", effect="late", seconds=2.0))
    with pytest.raises(aiohttp.ClientError):
        await graph.batch(set_item(1), set_item(2))
    assert emulator.sessions() == []
    emulator.move_clock(2.0)
    assert len(emulator.sessions()) == 2
    assert [entry.late for entry in emulator.journal] == [False, False, True, True]


@pytest.mark.parametrize(("effect", "answers"), [("missing", 4), ("duplicate", 6)])
async def test_a_batch_that_answers_one_item_not_or_twice(
    emulator: Emulator, graph: Client, effect: Any, answers: int
) -> None:
    emulator.add_fault(Fault(verb="batch", effect=effect, times=1))
    answer = await graph.batch(*(set_item(number) for number in range(5)))
    assert len(answer.json["responses"]) == answers
    [entry] = [entry for entry in emulator.journal if entry.fault]
    assert (entry.fault, entry.answered) == (effect, effect == "duplicate")


async def test_only_a_batch_that_names_the_user(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(verb="batch", user=user(3), status=400))
    assert (await graph.batch(set_item(1), set_item(2))).status == 200
    assert (await graph.batch(set_item(2), set_item(3))).status == 400
    assert (await graph.set(user(3))).status == 200


async def test_a_slow_and_a_stale_batch_tell_the_truth(emulator: Emulator, graph: Client) -> None:
    emulator.add_fault(Fault(verb="batch", effect="slow", seconds=0.02, times=1))
    emulator.add_fault(Fault(verb="batch", effect="stale", times=1))
    for _ in range(2):
        answer = await graph.batch(set_item(1), clear_item(2))
        assert {key: each["status"] for key, each in by_id(answer).items()} == {"1": 200, "2": 404}
    assert [e.answered for e in emulator.journal] == [True] * 4
    assert {e.status for e in emulator.journal_for(user(2))} == {404}


async def test_a_hanging_batch_that_was_not_applied_is_504(
    emulator: Emulator, graph: Client
) -> None:
    emulator.add_fault(Fault(verb="batch", effect="hang", seconds=0.02))
    assert (await graph.batch(set_item(1))).status == 504
    assert emulator.presence(TENANT, user(1)) == ("Offline", "Offline")
