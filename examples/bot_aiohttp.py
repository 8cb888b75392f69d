"""A bot that shows whoever starts a Teams meeting as in a conference call, until it ends.

Needs:    an application with the permission Presence.ReadWrite.All, or the emulator
Install:  pip install presence-manager
Run:      export PRESENCE_TENANT_ID=... PRESENCE_CLIENT_ID=... PRESENCE_CLIENT_SECRET=...
          python examples/bot_aiohttp.py [PORT]
          and post activities to http://127.0.0.1:3978/api/messages
You see:  the address; at Ctrl-C or SIGTERM everybody who is still shown is cleared

In a real bot the SDK's adapter parses the activity, and checks first that it comes from
Microsoft. This example checks nothing, and so listens on this machine only.
"""

from __future__ import annotations

import sys

from aiohttp import web

from presence_manager.hosts.activity import identity
from presence_manager.hosts.aiohttp import presence_of, setup

START = "application/vnd.microsoft.meetingStart"
END = "application/vnd.microsoft.meetingEnd"


async def messages(request: web.Request) -> web.Response:
    activity = await request.json()
    if activity.get("type") == "event" and activity.get("name") in (START, END):
        try:
            tenant, user = identity(activity)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        presence = presence_of(request)
        key = activity["conversation"]["id"]  # the same at the start and at the end
        if activity["name"] == START:
            await presence.hold(user, "Busy", "InAConferenceCall", tenant=tenant, key=key)
        else:
            await presence.release(user, tenant=tenant, key=key)
    return web.Response()


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/api/messages", messages)
    setup(app)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 3978
    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=0.5)
