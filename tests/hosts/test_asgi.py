"""A manager in an ASGI lifespan: FastAPI, Starlette, and one that was there before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from host_runs import host_settings, user
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from presence_manager import Closed, PresenceManager, SettingsError
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.asgi import lifespan, presence_of


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """What a server does: lifespan in a task of its own, requests with its state."""
    state: dict[str, Any] = {}
    ask: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    living = asyncio.create_task(app(scope, ask.get, told.put))
    await ask.put({"type": "lifespan.startup"})
    assert (await told.get())["type"] == "lifespan.startup.complete"

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    transport = httpx.ASGITransport(app=with_state)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client
    await ask.put({"type": "lifespan.shutdown"})
    assert (await told.get())["type"] == "lifespan.shutdown.complete"
    await living


async def test_fastapi(emulator: Emulator) -> None:
    app = FastAPI(lifespan=lifespan(host_settings(emulator)))

    @app.post("/{name}")
    async def call(name: str, request: Request) -> str:
        return (await presence_of(request).hold(name, "Busy")).state

    with pytest.raises(LookupError, match=r"lifespan\(\)"):
        presence_of(app)
    async with serving(app) as client:
        assert (await client.post(f"/{user(1)}")).json() == "shown"
        presence = presence_of(app)
        assert presence is app.state.presence
        assert len(emulator.sessions()) == 1
    assert emulator.sessions() == []
    assert presence.last_report is not None
    assert presence.last_report.ok


async def test_starlette_and_what_is_mounted_in_it(emulator: Emulator) -> None:
    found: list[PresenceManager] = []

    async def look(request: Any) -> PlainTextResponse:
        found.extend((presence_of(request), request.state.presence))
        return PlainTextResponse("")

    inner = Starlette(routes=[Route("/look", look)])
    app = Starlette(
        routes=[Route("/look", look), Mount("/inner", inner)],
        lifespan=lifespan(host_settings(emulator)),
    )
    async with serving(app) as client:
        for path in ("/look", "/inner/look"):
            assert (await client.get(path)).status_code == 200
        assert found == [app.state.presence] * 4


@asynccontextmanager
async def other(app: Any) -> AsyncIterator[dict[str, str]]:
    """A lifespan that an application had before."""
    await app.state.presence.hold(user(1), "Busy")
    yield {"mine": "kept", "presence": "not mine"}
    with pytest.raises(Closed):
        await app.state.presence.hold(user(2), "Busy")
    app.state.ended = True


async def test_it_wraps_a_lifespan_that_was_there(emulator: Emulator) -> None:
    app = SimpleNamespace(state=SimpleNamespace())
    async with lifespan(host_settings(emulator), wraps=other)(app) as state:
        assert state == {"mine": "kept", "presence": app.state.presence}
        assert len(emulator.sessions()) == 1
    assert emulator.sessions() == []
    assert app.state.ended


async def test_the_sweep_does_not_wait_for_the_other_lifespan(emulator: Emulator) -> None:
    @asynccontextmanager
    async def slow(app: Any) -> AsyncIterator[None]:
        yield
        async with asyncio.timeout(10.0):
            while emulator.sessions():
                await asyncio.sleep(0.01)
        raise RuntimeError("and it fails, too")

    app = SimpleNamespace(state=SimpleNamespace())
    with pytest.raises(RuntimeError, match="fails"):
        async with lifespan(host_settings(emulator), wraps=slow)(app):
            await app.state.presence.hold(user(1), "Busy")
    assert app.state.presence.last_report.ok


async def test_cancelled_it_hurries(emulator: Emulator) -> None:
    """As a server does that is told to stop a second time."""
    app = SimpleNamespace(state=SimpleNamespace())
    up = asyncio.Event()

    async def live() -> None:
        async with lifespan(host_settings(emulator), deadline=60.0)(app):
            await app.state.presence.hold(user(1), "Busy")
            emulator.add_fault(Fault(verb="clear", effect="hang"))
            up.set()
            await asyncio.Future()

    living = asyncio.create_task(live())
    await up.wait()
    living.cancel()
    async with asyncio.timeout(2.0):
        await asyncio.wait({living})
    assert living.cancelled()
    assert app.state.presence.last_report.counts == {"unfinished": 1}


async def test_start_up_says_what_is_wrong() -> None:
    with pytest.raises(SettingsError, match="PRESENCE_CLIENT_ID"):
        async with lifespan()(SimpleNamespace(state=SimpleNamespace())):
            pass
