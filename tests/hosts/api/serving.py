"""The HTTP API in this process, on a real socket, over an emulator of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from host_runs import host_settings, user
from yarl import URL

from presence_manager import Settings
from presence_manager.emulator import Emulator
from presence_manager.hosts.api.meters import Metered
from presence_manager.hosts.api.serve import Server
from presence_manager.hosts.daemon import run_until_stopped
from presence_manager.manager import PresenceManager

BUSY = {"availability": "Busy", "activity": "InACall"}
PROBLEM = "urn:presence-manager:problem:"


def hold_path(number: int, hold: str = "call", tenant: str = "default") -> str:
    return f"/v1/tenants/{tenant}/users/{user(number)}/holds/{hold}"


class Daemon:
    """A daemon that serves; `ask` makes a request of it."""

    def __init__(self, metered: Metered, server: Server, client: aiohttp.ClientSession) -> None:
        self.metered = metered
        self.server = server
        self.client = client
        self.stop = asyncio.Event()
        self.task: asyncio.Task[int] | None = None

    @property
    def presence(self) -> PresenceManager:
        return self.metered.presence

    async def ask(
        self, method: str, path: str | URL, body: Any = None, **more: Any
    ) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        if body is not None:
            more["json"] = body
        async with self.client.request(method, path, **more) as answer:
            if answer.content_type.endswith(("/json", "+json")):
                return answer.status, await answer.json(content_type=None)
            return answer.status, await answer.text()

    async def put(self, number: int, hold: str = "call", **body: Any) -> tuple[int, Any]:
        return await self.ask("PUT", hold_path(number, hold), BUSY | body)

    async def ended(self) -> int:
        assert self.task is not None
        self.stop.set()
        return await self.task


def settings_for(
    emulator: Emulator, ledger: Path | None = None, **sections: dict[str, Any]
) -> Settings:
    given = host_settings(emulator, ledger).model_dump(exclude_unset=True)
    http = {"listen": "127.0.0.1:0"} | sections.pop("http", {})
    for name, values in sections.items():
        given[name] = given.get(name, {}) | values
    return Settings(**given, http=http)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Daemon]:
    """Run a daemon within a block; what it holds is cleared at the end."""
    metered = Metered(settings)
    server = Server(settings.http)
    await server.bind()
    ready = asyncio.Event()
    try:
        async with aiohttp.ClientSession(server.urls[0] if "://" in server.urls[0] else None) as it:
            daemon = Daemon(metered, server, it)

            async def work(_: PresenceManager) -> None:
                await server.work(metered, lambda urls: ready.set())

            daemon.task = asyncio.create_task(
                run_until_stopped(lambda: metered.presence, work, stop=daemon.stop.wait())
            )
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({waiting, daemon.task}, return_when=asyncio.FIRST_COMPLETED)
            assert ready.is_set(), daemon.task
            try:
                yield daemon
            finally:
                daemon.stop.set()
                await asyncio.wait({daemon.task})
    finally:
        server.close()
