"""One new token per refused token."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from presence_manager.errors import SignInRefused, SignInUnavailable
from presence_manager.graph.signin import PATIENCE

from .server import Connection, Seen, Server, all_done, answer, batch, packed
from .stage import LATER, TENANT, UNAUTHORIZED, D, Stage

CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}'
HEADER = {
    "www-AUTHENTICATE": f'Bearer error="insufficient_claims", '
    f'claims="{b64encode(CLAIMS.encode()).decode()}"'
}
DONE, NO, CHALLENGED = answer(200), answer(401), answer(401, headers=HEADER)


async def test_the_next_request_carries_a_new_token() -> None:
    async with Server(DONE, NO, DONE) as server, Stage(server.url) as stage:
        found = [(await stage.one()).judgement for _ in range(4)]
    assert found == [D, UNAUTHORIZED, D, D]
    assert [seen.header("authorization") for seen in server.seen] == [
        "Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2",
    ]  # fmt: skip
    assert stage.tokens.calls == [
        (TENANT, "", ""), (TENANT, "", ""), (TENANT, "t1", ""), (TENANT, "", ""),
    ]  # fmt: skip


async def test_a_claims_challenge_is_passed_on() -> None:
    async with Server(CHALLENGED, DONE) as server, Stage(server.url) as stage:
        await stage.one()
        await stage.one()
    assert stage.tokens.calls == [(TENANT, "", ""), (TENANT, "t1", CLAIMS)]


async def test_a_403_that_asks_for_claims() -> None:
    async with Server(answer(403, headers=HEADER)) as server, Stage(server.url) as stage:
        assert (await stage.one()).judgement is UNAUTHORIZED
        await stage.one()
    assert stage.tokens.calls[1] == (TENANT, "t1", CLAIMS)


async def test_a_challenge_on_one_item_of_a_batch() -> None:
    script = batch({"id": "0", "status": 200}, {"id": "1", "status": 401, "headers": HEADER})
    async with Server(script, all_done) as server, Stage(server.url) as stage:
        assert [v.judgement for v in await stage.send(2)] == [D, UNAUTHORIZED]
        await stage.send(2)
    assert stage.tokens.calls[1] == (TENANT, "t1", CLAIMS)


async def test_many_refused_at_once_ask_for_one_new_token() -> None:
    async with Server(NO) as server, Stage(server.url) as stage:
        await asyncio.gather(*(stage.one() for _ in range(8)))
        server.scripts = [DONE]
        await asyncio.gather(*(stage.one() for _ in range(8)))
        await stage.one()
    assert {seen.header("authorization") for seen in server.seen[8:]} == {"Bearer t2"}
    assert stage.tokens.number == 2
    assert stage.tokens.calls[-1] == (TENANT, "", "")


async def test_a_refusal_that_comes_late_is_old_news() -> None:
    """Two leave with t1; the second is refused only when t2 is in use already."""
    late = asyncio.Event()

    async def refuse_late(seen: Seen, connection: Connection) -> None:
        await late.wait()
        await connection.write(packed(401))

    async with Server(refuse_late, NO, DONE) as server, Stage(server.url) as stage:
        first = asyncio.create_task(stage.one())
        await server.arrived.wait()
        await stage.one()
        await stage.one()
        late.set()
        assert (await first).judgement is UNAUTHORIZED
        await stage.one()
    assert [refused for _, refused, _ in stage.tokens.calls] == ["", "", "t1", ""]


async def test_a_permission_that_is_missing_does_not_burn_tokens() -> None:
    """Graph says 401 for that too; the new token is refused as well, and the next, ..."""
    async with Server(NO) as server, Stage(server.url) as stage:
        for _ in range(10):
            assert (await stage.one()).judgement is UNAUTHORIZED
        assert stage.tokens.number == 2
        stage.clock.time += PATIENCE
        await stage.one()  # carries t2, which has had its time
        await stage.one()
    assert stage.tokens.number == 3
    assert server.seen[-1].header("authorization") == "Bearer t3"


async def test_a_challenge_is_answered_though_the_token_is_new() -> None:
    async with Server(NO, CHALLENGED) as server, Stage(server.url) as stage:
        for _ in range(6):
            await stage.one()
    refused = [(token, claims) for _, token, claims in stage.tokens.calls if token]
    assert refused == [("t1", ""), ("t2", CLAIMS)], "once per token and reason"


async def test_a_refusal_is_kept_until_it_is_answered() -> None:
    async with Server(NO, DONE) as server, Stage(server.url) as stage:
        await stage.one()
        stage.tokens.error = SignInUnavailable("nobody\nthere")
        verdict = await stage.one()
        assert (verdict.judgement, verdict.code) == (LATER, "signInUnavailable")
        assert verdict.message == "nobody there"
        stage.tokens.error = SignInRefused("only that one")
        try:
            await stage.one()
        except SignInRefused:
            stage.tokens.error = None
        assert (await stage.one()).judgement is D
    assert [refused for _, refused, _ in stage.tokens.calls] == ["", "t1", "t1", "t1"]
    assert len(server.seen) == 2
