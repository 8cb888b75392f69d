"""Whether the daemon is alive, whether it is ready, and how it is drained."""

from __future__ import annotations

from importlib.metadata import version
from typing import Literal

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from presence_manager.hosts.api.call import Body, Call, answer
from presence_manager.hosts.shapes import of_report


class DrainBody(Body):
    """How long the drain may take."""

    deadline: float | None = Field(
        default=None, gt=0, le=86_400, description="seconds; shutdown.deadline by default"
    )


class AliveShape(TypedDict):
    """It answers."""

    status: str


class ReadyShape(TypedDict):
    """Whether it takes holds; `faults` says why not."""

    ready: bool
    faults: list[str]


class StatusShape(TypedDict):
    """How the daemon is: `faults` say why it is not ready; `tokens`, whether it demands them."""

    state: Literal["open", "draining", "closing"]
    faults: list[str]
    tokens: bool
    version: str


async def alive(call: Call[None, None]) -> web.StreamResponse:
    """Say that the process answers."""
    shape: AliveShape = {"status": "alive"}
    return answer(shape)


async def ready(call: Call[None, None]) -> web.StreamResponse:
    """Say whether it takes holds: ledger writable, signed in, neither draining nor closing."""
    faults = await call.service.faults()
    shape: ReadyShape = {"ready": not faults, "faults": faults}
    return answer(shape, 503 if faults else 200)


async def status(call: Call[None, None]) -> web.StreamResponse:
    """Say what the page has to know before it asks for a token."""
    service = call.service
    faults = await service.faults()
    shape: StatusShape = {
        "state": "closing" if service.closing else "draining" if service.draining else "open",
        "faults": faults,
        "tokens": service.guarded,
        "version": version("presence-manager"),
    }
    return answer(shape)


async def drain(call: Call[DrainBody, None]) -> web.StreamResponse:
    """Refuse new holds from now on, clear all of this daemon's, and say how it went."""
    deadline = call.body.deadline
    if deadline is None:
        deadline = call.service.presence.settings.shutdown.deadline
    return answer(of_report(await call.service.drain(deadline)))
