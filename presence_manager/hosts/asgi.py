"""A presence manager that lives as long as a FastAPI, Starlette or like application.

app = FastAPI(lifespan=presence_lifespan())

@app.put("/busy/{user}")
async def busy(user: str) -> None:
    await app.state.presence.hold(user, "Busy", "InACall", key="desk")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from presence_manager.manager import PresenceManager
from presence_manager.settings import Settings

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
"""What these frameworks take as `lifespan=`."""


def presence_lifespan(
    settings: Settings | None = None,
    *,
    manager: PresenceManager | None = None,
    wraps: Lifespan | None = None,
) -> Lifespan:
    """Return a lifespan that opens a manager, and closes it, sweeping, when the server stops.

    The manager is `app.state.presence`. `manager` is one that is not open yet, and serves one
    start; otherwise each start makes one of `settings`, or of `Settings()`. `wraps` is another
    lifespan, run within this one: it finds the manager open at its beginning and at its end, and
    what it yields is passed on.

    uvicorn ends the lifespan only when the last request has ended, and by default waits for that
    without limit: one hung request keeps the sweep from beginning until the platform kills the
    process. Run it with `timeout_graceful_shutdown` (seconds), and leave room for
    `shutdown.deadline` after it. A second Ctrl-C makes uvicorn skip the end of the lifespan;
    what is left then is in the ledger, and the next start clears it.

    The start of the application raises SettingsError and LedgerUnusable.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with manager if manager is not None else PresenceManager(settings) as presence:
            app.state.presence = presence
            if wraps is None:
                yield
            else:
                async with wraps(app) as state:
                    yield state

    return lifespan
