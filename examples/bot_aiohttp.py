"""A bot on aiohttp.web: whoever starts a call is shown as in a call until it ends.

Needs    PRESENCE_TENANT_ID, PRESENCE_CLIENT_ID, PRESENCE_CLIENT_SECRET, or the lines that
         `presence-manager emulator` prints
Install  pip install presence-manager
Run      PORT=3978 python examples/bot_aiohttp.py
         curl localhost:3978/api/messages -H 'Content-Type: application/json' -d '{
           "type": "event", "name": "callStart", "conversation": {"id": "call-17"},
           "from": {"aadObjectId": "6e7b768e-07e2-4810-8459-485f84f8f204"},
           "channelData": {"tenant": {"id": "e0000000-0000-4000-8000-000000000001"}}}'
See      {"state": "shown"}; with "callEnd" {"outcome": "cleared"}; on Ctrl-C or SIGTERM all that
         are left are cleared, and the exit status is 0 when they are

In a bot of yours the SDK's adapter stands before `messages` and checks who is calling: this
example believes anybody, so it listens on this machine only.
"""

from __future__ import annotations

import os
import sys

from aiohttp import web

from presence_manager import PresenceError
from presence_manager.hosts.activity import identity
from presence_manager.hosts.aiohttp import PRESENCE, presence_of, setup


async def messages(request: web.Request) -> web.Response:
    activity = await request.json()
    presence = presence_of(request)
    name = activity.get("name")
    if name not in ("callStart", "callEnd"):
        return web.json_response({})
    call = activity["conversation"]["id"]
    try:
        tenant, user = identity(activity)
        if name == "callStart":
            hold = await presence.hold(user, "Busy", "InACall", tenant=tenant, key=call)
            return web.json_response({"state": hold.state})
        outcome = await presence.release(user, tenant=tenant, key=call)
        return web.json_response({"outcome": outcome.kind})
    except PresenceError as error:  # a call must not fail because presence does
        return web.json_response({"error": str(error)}, status=503)


def main() -> int:
    app = web.Application()
    app.router.add_post("/api/messages", messages)
    setup(app)
    # A request that hangs is waited for twice as long: well within a container's ten seconds.
    port = int(os.environ.get("PORT", "3978"))
    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=1.0)
    report = app[PRESENCE].last_report
    return 0 if report is not None and report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
