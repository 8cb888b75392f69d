"""A manager in an aiohttp application: when it opens, when the sweep begins, when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from host_runs import free_port, host_settings, remembered, user

from presence_manager import Closed, LedgerUnusable, PresenceManager, SettingsError
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.aiohttp import PRESENCE, presence_of, setup


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


async def started(app: web.Application, **how: float) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app, **how)  # type: ignore[arg-type]
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{port}"


async def call(request: web.Request) -> web.Response:
    hold = await presence_of(request).hold(request.match_info["user"], "Busy", "InACall")
    return web.Response(text=hold.state)


async def test_it_lives_as_long_as_the_application(emulator: Emulator) -> None:
    app = web.Application()
    app.router.add_post("/{user}", call)
    setup(app, host_settings(emulator))
    with pytest.raises(LookupError, match=r"setup\(app\)"):
        presence_of(app)
    runner, url = await started(app)
    async with ClientSession() as client, client.post(f"{url}/{user(1)}") as answer:
        assert await answer.text() == "shown"
    presence = presence_of(app)
    assert presence is app[PRESENCE]
    assert len(emulator.sessions()) == 1
    await runner.cleanup()
    assert emulator.sessions() == []
    report = presence.last_report
    assert report is not None
    assert report.ok
    with pytest.raises(Closed):
        await presence.hold(user(1), "Busy")


async def test_the_sweep_begins_before_other_handlers_and_open_connections(
    emulator: Emulator,
) -> None:
    app = web.Application()
    swept = asyncio.Event()
    seen: list[str] = []

    async def hangs(request: web.Request) -> web.Response:
        seen.append("request")
        await swept.wait()  # a request that only ends once nothing is left
        return web.Response()

    async def shutdown(app: web.Application) -> None:
        with pytest.raises(Closed):
            await app[PRESENCE].hold(user(2), "Busy")
        seen.append("on_shutdown")
        while emulator.sessions():
            await asyncio.sleep(0.01)
        swept.set()

    app.router.add_get("/", hangs)
    app.on_shutdown.append(shutdown)
    setup(app, host_settings(emulator))
    runner, url = await started(app, shutdown_timeout=10.0)
    await app[PRESENCE].hold(user(1), "Busy")
    async with ClientSession() as client:
        asking = asyncio.create_task(client.get(url))
        while not seen:
            await asyncio.sleep(0)
        await runner.cleanup()
        assert (await asking).status == 200
    assert seen == ["request", "on_shutdown"]


async def test_it_ends_whatever_else_fails(emulator: Emulator) -> None:
    """A fault of another's clean-up, or of its shutdown, costs nobody their sweep."""

    async def shutdown(app: web.Application) -> None:
        raise RuntimeError("shutdown")

    async def other(app: web.Application) -> AsyncIterator[None]:
        yield
        raise RuntimeError("clean-up")

    async def cleanup(app: web.Application) -> None:
        raise RuntimeError("not even reached")

    app = web.Application()
    app.on_shutdown.append(shutdown)
    app.on_cleanup.append(cleanup)
    app.cleanup_ctx.append(other)
    setup(app, host_settings(emulator))
    app.cleanup_ctx.append(other)
    runner, _ = await started(app)
    presence = app[PRESENCE]
    await presence.hold(user(1), "Busy")
    with pytest.raises(RuntimeError, match="shutdown"):
        await runner.cleanup()
    with pytest.raises(web.CleanupError):
        await app.cleanup()
    assert emulator.sessions() == []
    assert presence.last_report is not None


async def test_it_ends_when_start_up_fails_after_it(emulator: Emulator) -> None:
    async def startup(app: web.Application) -> None:
        await app[PRESENCE].hold(user(1), "Busy")
        raise RuntimeError("start-up")

    app = web.Application()
    setup(app, host_settings(emulator))
    app.on_startup.append(startup)
    runner = web.AppRunner(app)
    with pytest.raises(RuntimeError, match="start-up"):
        await runner.setup()
    assert len(emulator.sessions()) == 1
    await runner.cleanup()
    assert emulator.sessions() == []


async def test_the_deadline_is_the_one_given(emulator: Emulator, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    app = web.Application()
    setup(app, host_settings(emulator, ledger), deadline=0.2)
    runner, _ = await started(app)
    await app[PRESENCE].hold(user(1), "Busy")
    emulator.add_fault(Fault(verb="clear", effect="hang"))
    async with asyncio.timeout(0.2 + 1.0 + 0.5):
        await runner.cleanup()
    report = app[PRESENCE].last_report
    assert report is not None
    assert not report.ok
    assert remembered(ledger) == {user(1)}


async def test_of_a_factory(emulator: Emulator) -> None:
    made: list[PresenceManager] = []

    def make() -> PresenceManager:
        made.append(PresenceManager(host_settings(emulator)))
        return made[-1]

    app = web.Application()
    setup(app, make)
    assert made == []
    runner, _ = await started(app)
    assert [app[PRESENCE]] == made
    await runner.cleanup()


async def test_a_sub_application_has_its_own_or_its_parents(emulator: Emulator) -> None:
    parent, own, none = web.Application(), web.Application(), web.Application()
    found: dict[str, PresenceManager] = {}

    async def look(request: web.Request) -> web.Response:
        found[request.path] = presence_of(request)
        return web.Response()

    for app in (own, none):
        app.router.add_get("/look", look)
    setup(own, host_settings(emulator))
    setup(parent, host_settings(emulator))
    parent.add_subapp("/own/", own)
    parent.add_subapp("/none/", none)
    runner, url = await started(parent)
    await own[PRESENCE].hold(user(1), "Busy")
    async with ClientSession() as client:
        for path in ("/own/look", "/none/look"):
            async with client.get(url + path) as answer:
                assert answer.status == 200
    assert found == {"/own/look": own[PRESENCE], "/none/look": parent[PRESENCE]}
    assert own[PRESENCE] is not parent[PRESENCE]
    await runner.cleanup()
    assert emulator.sessions() == []


async def test_start_up_says_what_is_wrong(emulator: Emulator, tmp_path: Path) -> None:
    app = web.Application()
    setup(app)
    with pytest.raises(SettingsError, match="PRESENCE_CLIENT_ID"):
        await web.AppRunner(app).setup()
    app = web.Application()
    setup(app, host_settings(emulator, tmp_path))  # a folder is no ledger
    runner = web.AppRunner(app)
    with pytest.raises(LedgerUnusable, match=str(tmp_path)):
        await runner.setup()
    await runner.cleanup()
