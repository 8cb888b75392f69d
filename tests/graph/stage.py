"""What the tests of the client stand on: a clock, tokens, sessions and attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from uuid import UUID

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS, Pair
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Judgement, Verb, Verdict
from presence_manager.graph.client import GraphClient
from presence_manager.ports import Token
from presence_manager.settings import GraphSettings

APP = "11111111-1111-4111-8111-111111111111"
TENANT = "22222222-2222-4222-8222-222222222222"
GRAPH = "https://graph.microsoft.com"

D = Judgement.DONE
GONE, THROTTLED, LATER = Judgement.GONE, Judgement.THROTTLED, Judgement.LATER
LOST, UNAUTHORIZED, DENIED = Judgement.LOST, Judgement.UNAUTHORIZED, Judgement.DENIED

TABLE = [
    (200, D), (201, D), (202, D), (204, D), (299, D),
    (404, GONE), (429, THROTTLED), (401, UNAUTHORIZED),
    (408, LOST), (409, LOST), (500, LOST), (501, LOST), (502, LOST), (503, LOST), (504, LOST),
    (507, LOST), (509, LOST), (599, LOST),
    (400, DENIED), (402, DENIED), (403, DENIED), (405, DENIED), (406, DENIED), (410, DENIED),
    (412, DENIED), (413, DENIED), (415, DENIED), (422, DENIED), (423, DENIED), (424, DENIED),
    (425, DENIED), (451, DENIED), (499, DENIED),
    (300, DENIED), (301, DENIED), (302, DENIED), (303, DENIED), (304, DENIED), (307, DENIED),
    (308, DENIED),
]  # fmt: skip
"""Design, section 5, row by row, for one session asked alone."""


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


class Tokens:
    """Hands out t1, t2, ...: a new one for each that was refused. `calls` is what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.number = 1
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.secret: Callable[[int], str] = lambda number: f"t{number}"

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        self.calls.append((tenant, refused.secret if refused else "", claims))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if refused is not None and refused.secret == self.secret(self.number):
            self.number += 1
        return Token(self.secret(self.number), inf)

    async def close(self) -> None:
        pass


def lane(origin: str = GRAPH) -> LaneId:
    return LaneId(origin, APP, TENANT)


def user(number: int) -> str:
    return str(UUID(int=number))


def clearing(send_by: float = inf) -> Attempt:
    return Attempt(verb=Verb.CLEAR, owner="me", number=1, send_by=send_by)


def setting(pair: Pair = PAIRS[1], lease: float = 600.0, send_by: float = inf) -> Attempt:
    return Attempt(verb=Verb.SET, owner="me", number=1, send_by=send_by, pair=pair, lease=lease)


def asks(
    count: int = 1, attempt: Attempt | None = None, origin: str = GRAPH
) -> list[tuple[Key, Attempt]]:
    return [(Key(lane(origin), user(i)), attempt or clearing()) for i in range(count)]


class Stage:
    """A client for one origin, with its clock and tokens."""

    def __init__(self, origin: str, **settings: object) -> None:
        self.origin = origin
        self.clock = Clock()
        self.tokens = Tokens()
        self.client = GraphClient(
            GraphSettings(base_url=origin, **settings),  # type: ignore[arg-type]
            self.tokens,
            self.clock,
        )

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()

    async def send(
        self, count: int = 1, attempt: Attempt | None = None, timeout: float = 5.0
    ) -> list[Verdict]:
        return await self.client.send(lane(self.origin), asks(count, attempt, self.origin), timeout)

    async def one(self, attempt: Attempt | None = None, timeout: float = 5.0) -> Verdict:
        (verdict,) = await self.send(1, attempt, timeout)
        return verdict
