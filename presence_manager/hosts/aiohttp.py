"""A presence manager that lives as long as an aiohttp.web application.

app = web.Application()
setup(app)

async def handler(request: web.Request) -> web.Response:
    await presence_of(request).hold("user-id", "Busy", "InACall", key="call-17")
    return web.Response()
"""

from __future__ import annotations

from aiohttp import web

from presence_manager.manager import PresenceManager
from presence_manager.settings import Settings

PRESENCE: web.AppKey[PresenceManager] = web.AppKey("presence", PresenceManager)
"""Under this key the application holds its manager."""


def setup(
    app: web.Application,
    settings: Settings | None = None,
    *,
    manager: PresenceManager | None = None,
) -> PresenceManager:
    """Open a manager when the application starts, and close it, sweeping, when it stops.

    `manager` is one that is not open yet, for those who replace its ports; otherwise one is made
    of `settings`, or of `Settings()`. The sweep begins in `on_shutdown`: one hung request puts
    `on_cleanup` off for twice the `shutdown_timeout` of the server, by default two minutes,
    and no platform waits that long. A request still running then gets `Closed` for a new hold.

    Raises SettingsError at once; the start of the application raises LedgerUnusable.
    """
    presence = manager if manager is not None else PresenceManager(settings)

    async def start(_: web.Application) -> None:
        await presence.open()

    async def stop(_: web.Application) -> None:
        await presence.close()  # does nothing when it is closed already

    app[PRESENCE] = presence
    app.on_startup.append(start)
    app.on_shutdown.append(stop)
    app.on_cleanup.append(stop)
    return presence


def presence_of(where: web.Request | web.Application) -> PresenceManager:
    """Return the manager of the application, or of the application that a request is for.

    From a request it is found in the enclosing applications too. Raises KeyError without `setup`.
    """
    found = where if isinstance(where, web.Application) else where.config_dict
    try:
        presence: PresenceManager = found[PRESENCE]
    except KeyError:
        raise KeyError("no presence manager here: call setup(app) before it starts") from None
    return presence
