"""The emulator's own endpoints under ``/_emulator/``, for tests in another process.

GET ready, sessions, journal (``?user=``, ``?since=`` index), stats; POST clock, faults, sessions,
revoke; DELETE faults, sessions/{tenant}/{app}/{user}. Loopback only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from .faults import Fault
from .world import World

PREFIX = "/_emulator/"


class Control:
    """Answers the control endpoints with what `World` says and does."""

    def __init__(self, world: World, statistics: Callable[[], dict[str, Any]]) -> None:
        self._world = world
        self._statistics = statistics

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever is wrong with it is a 400 that says so."""
        if not ip_address(request.remote or "0.0.0.0").is_loopback:  # noqa: S104 - not a bind
            return web.json_response({"error": "loopback only"}, status=403)
        parts = request.path.removeprefix(PREFIX).split("/")
        try:
            raw = await request.read()
            document = json.loads(raw) if raw else {}
            if not isinstance(document, dict):
                raise ValueError("the body must be a JSON object")
            answer = self._answer(request, parts, document)
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"error": f"{error}"}, status=400)
        if answer is None:
            return web.json_response({"error": "no such endpoint"}, status=404)
        return web.json_response(answer)

    def _answer(
        self, request: web.BaseRequest, parts: list[str], document: dict[str, Any]
    ) -> object:
        world = self._world
        match request.method, *parts:
            case "GET", "ready":
                return {"ready": True}
            case "GET", "stats":
                return self._statistics()
            case "GET", "sessions":
                return [session._asdict() for session in world.sessions()]
            case "GET", "journal":
                since = int(request.query.get("since", 0))
                user = request.query.get("user")
                entries = world.journal if user is None else world.journal_for(user)
                return [asdict(entry) for entry in entries[since:]]
            case "POST", "clock":
                world.move_clock(float(document["move"]))
                return {"now": world.now()}
            case "POST", "faults":
                world.add_fault(Fault.from_json(document))
                return {"added": True}
            case "DELETE", "faults":
                world.clear_faults()
                return {"cleared": True}
            case "POST", "sessions":
                world.put_session(**document)
                return {"put": True}
            case "DELETE", "sessions", tenant, app, user:
                return {"dropped": world.drop_session(tenant, app, user)}
            case "POST", "revoke":
                world.revoke(document.get("token"))
                return {"revoked": True}
            case _:
                return None
