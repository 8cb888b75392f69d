"""Tokens are remembered, asked for once at a time, and failures are not asked for again at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tenacity import wait_none

from presence_manager.errors import SignInRefused, SignInUnavailable
from presence_manager.graph.tokens_failure import Failure
from presence_manager.graph.tokens_memory import TokenMemory, default_retry
from presence_manager.ports import Token

from .token_server import OTHER, TENANT, shown


class Platform:
    """Signs in as told: each call takes the next of `script`, or a token of an hour."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.calls: list[tuple[str, Token | None, str]] = []
        self.time = 1000.0
        self.gate: asyncio.Event | None = None
        self.memory = TokenMemory(
            self.sign_in,
            timeout=5.0,
            retry=default_retry().copy(wait=wait_none()),
            now=lambda: self.time,
            ticks=lambda: self.time,
        )

    async def sign_in(self, tenant: str, refused: Token | None, claims: str) -> Token:
        self.calls.append((tenant, refused, claims))
        number = len(self.calls)
        if self.gate is not None:
            await self.gate.wait()
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Token):
            return step
        return Token(f"token-{number}", self.time + 3600)


async def settled(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def asked(memory: TokenMemory, count: int, **how: Any) -> list[asyncio.Task[Token]]:
    return [asyncio.create_task(memory.token(TENANT, **how)) for _ in range(count)]


async def test_a_token_is_renewed_five_minutes_before_the_end_without_a_wait() -> None:
    platform = Platform()
    first = await platform.memory.token(TENANT)
    platform.time = first.expires_at - 300.001
    assert await platform.memory.token(TENANT) is first
    assert len(platform.calls) == 1
    platform.gate = asyncio.Event()  # the platform hangs
    for early in (300, 299, 60.001):
        platform.time = first.expires_at - early
        assert await platform.memory.token(TENANT) is first
    await settled(lambda: len(platform.calls) == 2)
    platform.time = first.expires_at - 60
    (caller,) = asked(platform.memory, 1)
    await settled(lambda: len(caller.get_stack()) > 0)
    assert not caller.done()
    platform.gate.set()
    assert (await caller).secret == "token-2"
    assert (await platform.memory.token(TENANT)).secret == "token-2"
    assert len(platform.calls) == 2


@pytest.mark.parametrize(
    ("life", "renew", "wait"),
    [(600, 300, 540), (200, 100, 180), (4, 2, 3.6), (1, 1, 1), (0, 1, 1), (-50, 1, 1)],
)
async def test_a_short_token_is_still_used(life: float, renew: float, wait: float) -> None:
    platform = Platform(Token("short", 1000.0 + life), Failure("down"))
    token = await platform.memory.token(TENANT)
    platform.time = 1000.0 + renew - 0.001
    assert await platform.memory.token(TENANT) is token
    assert len(platform.calls) == 1
    platform.time = 1000.0 + wait
    if wait < life:  # the renewal fails: it does to its end
        assert await platform.memory.token(TENANT) is token
    else:
        with pytest.raises(SignInUnavailable):
            await platform.memory.token(TENANT)
    assert len(platform.calls) == 2


async def test_callers_share_one_request_and_tenants_do_not() -> None:
    platform = Platform()
    platform.gate = asyncio.Event()
    callers = [*asked(platform.memory, 50), asyncio.create_task(platform.memory.token(OTHER))]
    await settled(lambda: len(platform.calls) == 2)
    platform.gate.set()
    tokens = await asyncio.gather(*callers)
    assert len({token.secret for token in tokens[:-1]}) == 1
    assert tokens[-1] not in tokens[:-1]
    assert len(platform.calls) == 2


async def test_cancelling_one_caller_or_all_leaves_the_request() -> None:
    platform = Platform()
    platform.gate = asyncio.Event()
    one, two, three = asked(platform.memory, 3)
    await settled(lambda: len(platform.calls) == 1)
    one.cancel()
    await asyncio.wait([one])
    assert one.cancelled()
    assert not two.done()
    two.cancel()
    three.cancel()
    await asyncio.wait([two, three])
    platform.gate.set()
    assert (await platform.memory.token(TENANT)).secret == "token-1"
    assert len(platform.calls) == 1


async def test_one_new_token_for_all_who_were_refused_the_same() -> None:
    platform = Platform()
    old = await platform.memory.token(TENANT)
    platform.gate = asyncio.Event()
    callers = asked(platform.memory, 20, refused=old, claims="{}") + asked(platform.memory, 5)
    await settled(lambda: len(platform.calls) == 2)
    platform.gate.set()
    assert {token.secret for token in await asyncio.gather(*callers)} == {"token-2"}
    late = await platform.memory.token(TENANT, refused=old, claims="{}")
    assert late.secret == "token-2"
    assert platform.calls == [(TENANT, None, ""), (TENANT, old, "{}")]


async def test_the_same_token_again_is_a_refusal() -> None:
    same = Token("same", 9000.0)
    platform = Platform(same, same)
    old = await platform.memory.token(TENANT)
    with pytest.raises(SignInRefused, match="the same token again") as caught:
        await platform.memory.token(TENANT, refused=old)
    assert caught.value.code == "invalid_token"
    platform.time += 5
    assert (await platform.memory.token(TENANT, refused=old)).secret == "token-3"


async def test_who_is_refused_what_another_flight_brings_asks_once_more() -> None:
    same = Token("same", 9000.0)
    platform = Platform(same)
    platform.gate = asyncio.Event()
    other, refused = asked(platform.memory, 1) + asked(platform.memory, 1, refused=same)
    await settled(lambda: len(platform.calls) == 1)
    platform.gate.set()
    assert await other == same
    assert (await refused).secret == "token-2"


@pytest.mark.parametrize(("refused", "pause"), [(True, 5.0), (False, 1.0)])
async def test_a_failure_is_repeated_for_a_while_and_then_asked_again(
    refused: bool, pause: float
) -> None:
    platform = Platform(Failure("no luck", refused=refused, code="some_code"))
    kind = SignInRefused if refused else SignInUnavailable
    seen = []
    for _ in range(3):
        with pytest.raises(kind, match=f"tenant {TENANT}.*no luck") as caught:
            await platform.memory.token(TENANT)
        seen.append(caught.value)
        platform.time += pause / 3 - 0.01
    assert len(set(map(id, seen))) == 3
    assert len(platform.calls) == 1
    platform.time += 0.04
    assert (await platform.memory.token(TENANT)).secret == "token-2"


async def test_the_pause_doubles_up_to_eight_seconds_and_begins_anew() -> None:
    async def pause_after(failure: Failure | None) -> float:
        platform.script.append(failure)
        before = len(platform.calls)
        try:
            token = await platform.memory.token(TENANT)
            platform.time = token.expires_at
        except SignInUnavailable:
            began = platform.time
            while True:
                platform.time += 0.5
                platform.script.insert(0, Failure("probe"))
                calls = len(platform.calls)
                with pytest.raises(SignInUnavailable):
                    await platform.memory.token(TENANT)
                if len(platform.calls) > calls:
                    return platform.time - began
                platform.script.clear()
        assert len(platform.calls) == before + 1
        return 0.0

    platform = Platform()
    assert await pause_after(Failure("down")) == 1.0  # its probe is failure 2
    platform.time += 100
    assert await pause_after(Failure("down")) == 4.0
    platform.time += 100
    assert await pause_after(Failure("down")) == 8.0
    platform.time += 100
    assert await pause_after(None) == 0.0
    assert await pause_after(Failure("down")) == 1.0


@pytest.mark.parametrize(("wait", "obeyed"), [(42.5, 42.5), (0.1, 1.0), (1e6, 300.0)])
async def test_retry_after_is_obeyed_within_bounds(wait: float, obeyed: float) -> None:
    platform = Platform(Failure("throttled", wait=wait))
    with pytest.raises(SignInUnavailable):
        await platform.memory.token(TENANT)
    platform.time += obeyed - 0.001
    with pytest.raises(SignInUnavailable):
        await platform.memory.token(TENANT)
    assert len(platform.calls) == 1
    platform.time += 0.001
    assert (await platform.memory.token(TENANT)).secret == "token-2"


async def test_what_a_second_try_may_mend_is_tried_three_times() -> None:
    platform = Platform(Failure("reset", again=True), Failure("reset", again=True))
    assert (await platform.memory.token(TENANT)).secret == "token-3"
    platform = Platform(*[Failure("reset", again=True)] * 3)
    with pytest.raises(SignInUnavailable, match="reset"):
        await platform.memory.token(TENANT)
    assert len(platform.calls) == 3


@pytest.mark.parametrize("refused", [True, False])
async def test_an_early_renewal_that_fails_leaves_the_old_token(refused: bool) -> None:
    platform = Platform(None, Failure("no luck", refused=refused))
    old = await platform.memory.token(TENANT)
    platform.time = old.expires_at - 50
    assert await platform.memory.token(TENANT) is old
    assert await platform.memory.token(TENANT) is old  # no request: within the pause
    assert len(platform.calls) == 2
    platform.script = [Failure("still not", refused=refused)]
    platform.time = old.expires_at
    with pytest.raises((SignInRefused, SignInUnavailable)):
        await platform.memory.token(TENANT)


async def test_a_refused_token_is_not_fallen_back_to() -> None:
    platform = Platform(None, Failure("down"))
    old = await platform.memory.token(TENANT)
    for how in ({"refused": old}, {}):
        with pytest.raises(SignInUnavailable):
            await platform.memory.token(TENANT, **how)
    assert len(platform.calls) == 2


async def test_no_answer_ends_at_the_timeout() -> None:
    ended = asyncio.Event()

    async def never(*_: object) -> Token:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    memory = TokenMemory(never, timeout=0.01)
    with pytest.raises(SignInUnavailable, match=r"no answer within 0\.01 s"):
        await memory.token(TENANT)
    assert ended.is_set()


async def test_close_forgets_and_gives_up_what_is_in_flight() -> None:
    platform = Platform()
    await platform.memory.token(OTHER)
    platform.gate = asyncio.Event()
    (caller,) = asked(platform.memory, 1)
    await settled(lambda: len(platform.calls) == 2)
    await platform.memory.close()
    await platform.memory.close()
    for waiting in (caller, platform.memory.token(TENANT)):
        with pytest.raises(SignInUnavailable, match="closed"):
            await waiting
    assert repr(platform.memory) == "TokenMemory(0 tenants)"


async def test_a_fault_of_ours_shows_no_text_of_its_own() -> None:
    async def broken(*_: object) -> Token:
        secret = "planted"
        raise RuntimeError(f"with {secret}")

    with pytest.raises(SignInUnavailable, match="unexpected RuntimeError") as caught:
        await TokenMemory(broken, timeout=1).token(TENANT)
    assert "planted" not in shown(caught.value)
    assert caught.value.__context__ is None
