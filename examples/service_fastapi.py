"""A service that shows users as in a call: PUT /calls/CALL/USER-ID begins, DELETE ends.

Needs:    an application with the permission Presence.ReadWrite.All, or the emulator
Install:  pip install presence-manager fastapi uvicorn
Run:      export PRESENCE_TENANT_ID=... PRESENCE_CLIENT_ID=... PRESENCE_CLIENT_SECRET=...
          python examples/service_fastapi.py [PORT]
          curl -X PUT http://127.0.0.1:8000/calls/17/USER-ID
You see:  uvicorn's lines; at Ctrl-C or SIGTERM everybody who is still shown is cleared
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

from presence_manager import PresenceManager
from presence_manager.hosts.asgi import presence_lifespan

app = FastAPI(lifespan=presence_lifespan())


def presence() -> PresenceManager:
    found: PresenceManager = app.state.presence
    return found


@app.put("/calls/{call}/{user}")
async def begin(call: str, user: str) -> dict[str, str]:
    hold = await presence().hold(user, "Busy", "InACall", key=f"call-{call}")
    return {"state": hold.state}


@app.delete("/calls/{call}/{user}")
async def end(call: str, user: str) -> dict[str, str]:
    outcome = await presence().release(user, key=f"call-{call}")
    return {"outcome": outcome.kind}


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    # Without a limit one hung request would keep the closing sweep from ever beginning.
    uvicorn.run(app, host="127.0.0.1", port=port, timeout_graceful_shutdown=1)
