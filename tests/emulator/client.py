"""A thin client of Graph, written for these tests only: it adds a token and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from presence_manager.emulator import Emulator

TENANT = "11111111-1111-4111-8111-111111111111"
OTHER_TENANT = "22222222-2222-4222-8222-222222222222"
APP = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
OTHER_APP = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
START = 1_800_000_000.0
"""Where the tests' clock stands, POSIX seconds."""


def user(number: int) -> str:
    return f"cccccccc-cccc-4ccc-8ccc-{number:012x}"


ALICE, BOB = user(1), user(2)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Client:
    def __init__(
        self, emulator: Emulator, session: aiohttp.ClientSession, token: str | None = None
    ) -> None:
        self.emulator = emulator
        self.session = session
        self.token = token if token is not None else emulator.token(TENANT, APP)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        options = options or ({} if body is None else {"json": body})
        url = self.emulator.graph_url + path
        async with self.session.request(method, url, headers=sent, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def set(self, who: str = ALICE, **changes: Any) -> Answer:
        return await self.ask("POST", f"/v1.0{set_url(who)}", set_body(**changes))

    async def clear(self, who: str = ALICE, **changes: Any) -> Answer:
        return await self.ask("POST", f"/v1.0{clear_url(who)}", {"sessionId": APP, **changes})

    async def shown(self, who: str = ALICE) -> tuple[str, str]:
        answer = await self.ask("GET", f"/v1.0/users/{who}/presence")
        return answer.json["availability"], answer.json["activity"]

    async def batch(self, *items: Mapping[str, Any], **options: Any) -> Answer:
        return await self.ask("POST", "/v1.0/$batch", {"requests": items}, **options)


def set_url(who: str) -> str:
    return f"/users/{who}/presence/setPresence"


def clear_url(who: str) -> str:
    return f"/users/{who}/presence/clearPresence"


def set_body(**changes: Any) -> dict[str, Any]:
    """A valid body; a change to None takes the property out."""
    body = {"sessionId": APP, "availability": "Busy", "activity": "InACall", **changes}
    return {name: value for name, value in body.items() if value is not None}


def _changed(whole: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply changes; None takes a property out."""
    return {key: value for key, value in (whole | dict(changes)).items() if value is not None}


def item(name: str, url: str, body: Any, **changes: Any) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    whole = {"id": name, "method": "POST", "url": url, "headers": headers, "body": body}
    return _changed(whole, changes)


def set_item(number: int, **changes: Any) -> dict[str, Any]:
    return _changed(item(str(number), set_url(user(number)), set_body()), changes)


def clear_item(number: int, **changes: Any) -> dict[str, Any]:
    return _changed(item(str(number), clear_url(user(number)), {"sessionId": APP}), changes)


def by_id(answer: Answer) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in answer.json["responses"]}
