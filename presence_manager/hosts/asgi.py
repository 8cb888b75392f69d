"""A service on FastAPI, Starlette, or anything else that takes an ASGI lifespan.

    app = FastAPI(lifespan=lifespan())

    @app.post("/calls/{user}")
    async def call(user: str, request: Request) -> None:
        await presence_of(request).hold(user, "Busy", "InACall")

Neither framework is imported here.

A server closes the lifespan only when all connections are done. uvicorn waits for them without
end unless told otherwise, so that one hung request keeps the sweep from beginning: give it
`timeout_graceful_shutdown` (`--timeout-graceful-shutdown`), in whole seconds; that and
`shutdown.deadline` together have to fit the platform's grace. A second Ctrl-C makes uvicorn leave
without closing the lifespan: what is left is in the ledger, and the next start clears it. After a
SIGTERM uvicorn closes the lifespan and then ends by that signal, so the exit status says nothing
of the sweep; the log (`sweep.done`) and the ledger do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from presence_manager.hosts.life import Life, Source
from presence_manager.manager import PresenceManager

State = Mapping[str, Any]
Lifespan = Callable[[Any], AbstractAsyncContextManager[State]]
"""What FastAPI and Starlette take as `lifespan=`."""
OtherLifespan = Callable[[Any], AbstractAsyncContextManager[State | None]]


def lifespan(
    source: Source = None,
    *,
    wraps: OtherLifespan | None = None,
    deadline: float | None = None,
) -> Lifespan:
    """Make a lifespan with a manager in it: of settings, or by a factory.

    The manager is `app.state.presence`, and `request.state.presence` by the lifespan's state
    (mounted applications see it there). `wraps` is a lifespan that the application already has:
    it begins when the manager is open; when it ends, the sweep has begun, so that holding raises
    Closed there. `deadline`, in seconds, is what the sweep may take (`shutdown.deadline` by
    default). A server that cancels the lifespan is in a hurry: what is left stays in the ledger.

    A lifespan that has to be open *before* the manager, say for its credential, is written around
    this one: `async with credential, lifespan(factory)(app) as state: yield state`.

    Start-up raises SettingsError and LedgerUnusable; it does not need Graph.
    """

    @asynccontextmanager
    async def with_presence(app: Any) -> AsyncIterator[State]:
        async with Life(source, deadline=deadline) as life:
            app.state.presence = life.presence
            async with nullcontext() if wraps is None else wraps(app) as state:
                try:
                    yield {**(state or {}), "presence": life.presence}
                except asyncio.CancelledError:
                    life.hurry()
                    raise
                finally:
                    await life.begin_closing()

    return with_presence


def presence_of(where: Any) -> PresenceManager:
    """The manager of a request, a websocket or an application.

    Raises LookupError before start-up, and where the lifespan is not this one.
    """
    for holder in (where, getattr(where, "app", None)):
        found = getattr(getattr(holder, "state", None), "presence", None)
        if isinstance(found, PresenceManager):
            return found
    raise LookupError(
        "this application has no PresenceManager: give it lifespan=presence_manager.hosts.asgi."
        "lifespan(), and a server that runs lifespans (uvicorn: --lifespan on)"
    )
