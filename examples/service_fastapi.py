"""A service on FastAPI: other programs say over HTTP who is in a call.

Needs    PRESENCE_TENANT_ID, PRESENCE_CLIENT_ID, PRESENCE_CLIENT_SECRET, or the lines that
         `presence-manager emulator` prints
Install  pip install presence-manager fastapi uvicorn
Run      PORT=8000 python examples/service_fastapi.py
         curl -X PUT localhost:8000/calls/call-17/6e7b768e-07e2-4810-8459-485f84f8f204
See      {"state":"shown"}; with -X DELETE {"outcome":"cleared"}; on Ctrl-C or SIGTERM all that
         are left are cleared before the process ends (SIGTERM by that signal: uvicorn's way)
"""

from __future__ import annotations

import os
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request

from presence_manager import InvalidHold, PresenceError, PresenceManager
from presence_manager.hosts.asgi import lifespan, presence_of

app = FastAPI(lifespan=lifespan())


async def manager(request: Request) -> PresenceManager:
    return presence_of(request)


Presence = Annotated[PresenceManager, Depends(manager)]


@app.put("/calls/{call}/{user}")
async def start(call: str, user: str, presence: Presence) -> dict[str, str]:
    try:
        hold = await presence.hold(user, "Busy", "InACall", key=call)
    except InvalidHold as error:
        raise HTTPException(422, str(error)) from None
    except PresenceError as error:
        raise HTTPException(503, str(error)) from None
    return {"state": hold.state}


@app.delete("/calls/{call}/{user}")
async def end(call: str, user: str, presence: Presence) -> dict[str, str]:
    try:
        outcome = await presence.release(user, key=call)
    except InvalidHold as error:
        raise HTTPException(422, str(error)) from None
    return {"outcome": outcome.kind}


def main() -> None:
    # Without the time-out one request that hangs would keep the sweep from ever beginning.
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run(app, host="127.0.0.1", port=port, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
