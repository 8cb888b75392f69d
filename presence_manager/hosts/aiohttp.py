"""A bot on aiohttp.web: the manager opens and closes with the application.

    app = web.Application()
    setup(app)

    async def messages(request: web.Request) -> web.Response:
        await presence_of(request).hold(user, "Busy", "InACall")

When the application stops, aiohttp closes its sites, sends `on_shutdown`, waits for open
connections, and only then cleans up: with one hung request after twice `shutdown_timeout`
(60 s each by default). So the sweep begins in `on_shutdown`, before all other handlers, runs
while connections are waited for, and is over when clean-up is. A bot that has to be gone within
a platform's grace gives `web.run_app(app, shutdown_timeout=...)` less than half of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from presence_manager.hosts.life import Life, Source
from presence_manager.manager import PresenceManager

PRESENCE: Final = web.AppKey("presence_manager", PresenceManager)
"""Where the manager is found, from start-up on: `app[PRESENCE]`."""
_LIFE: Final = web.AppKey("presence_manager_life", Life)


def setup(app: web.Application, source: Source = None, *, deadline: float | None = None) -> None:
    """Give the application a manager, made when it starts: of settings, or by a factory.

    `deadline`, in seconds, is what the closing sweep may take (`shutdown.deadline` by default).
    Once the sweep has begun, holding raises Closed; nothing need be released, all is cleared.

    A sub-application may have a manager of its own: call this before `add_subapp`. Its handlers
    see the parent's otherwise.

    Start-up raises SettingsError and LedgerUnusable; it does not need Graph.
    """

    async def begin(app: web.Application) -> None:
        life = app.get(_LIFE)
        if life is not None:
            await life.begin_closing()

    async def live(app: web.Application) -> AsyncIterator[None]:
        async with Life(source, deadline=deadline) as life:
            app[_LIFE], app[PRESENCE] = life, life.presence
            yield

    app.on_shutdown.insert(0, begin)
    # Not on_cleanup: there, the fault of another handler would keep ours from being called.
    app.cleanup_ctx.append(live)


def presence_of(where: web.Request | web.Application) -> PresenceManager:
    """The manager of a request, or of an application.

    A request to a sub-application that has none of its own gets the parent's. Raises LookupError
    before start-up, and where `setup` was never called.
    """
    found = where.get(PRESENCE) if isinstance(where, web.Application) else _above(where)
    if found is None:
        raise LookupError(
            "this application has no PresenceManager: call presence_manager.hosts.aiohttp."
            "setup(app) before it starts, and ask for it from start-up on"
        )
    return found


def _above(request: web.Request) -> PresenceManager | None:
    found: PresenceManager | None = request.config_dict.get(PRESENCE)
    return found
