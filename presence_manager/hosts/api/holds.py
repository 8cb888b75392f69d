"""Holds and clears of one user."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from presence_manager.core.pair import LONGEST_LEASE, SHORTEST_LEASE
from presence_manager.errors import PresenceError
from presence_manager.hosts.api.call import Body, Call, Query, answer
from presence_manager.hosts.shapes import iso, of_outcome
from presence_manager.manager.hold import Hold


class HoldBody(Body):
    """How a user is to be shown."""

    availability: Literal["Available", "Busy", "Away", "DoNotDisturb"]
    activity: Literal["Available", "InACall", "InAConferenceCall", "Away", "Presenting"] | None = (
        Field(default=None, description="by default the first that goes with the availability")
    )
    lease: Literal["auto"] | Annotated[float, Field(ge=SHORTEST_LEASE, le=LONGEST_LEASE)] | None = (
        Field(
            default=None,
            description="seconds Graph keeps the session should the daemon die; hold.lease by "
            "default, auto is the shortest that the budget can renew",
        )
    )
    ttl: float | None = Field(
        default=None,
        gt=0,
        le=31_536_000,
        description="seconds after which the hold ends, unless it is put again",
    )


class HoldQuery(Query):
    """How long the caller waits."""

    wait: float = Field(default=5.0, ge=0, le=300, description="seconds to wait to be shown")


class ClearBody(Body):
    """How long the clear may take."""

    deadline: float | None = Field(
        default=None, gt=0, le=3600, description="seconds; release.timeout by default"
    )


class HoldShape(TypedDict):
    """A hold: its `state` is shown, or pending while Graph has not taken it yet."""

    tenant: str
    user: str
    hold: str
    availability: str
    activity: str
    state: Literal["shown", "pending"]
    lease: float | Literal["auto"] | None
    until: str | None


async def put_hold(call: Call[HoldBody, HoldQuery]) -> web.StreamResponse:
    """Hold; wait until it is shown, but let it be when it is not shown in time."""
    body, service = call.body, call.service
    async with service.placing():
        hold = await service.presence.hold(
            call.name("user"),
            body.availability,
            body.activity,
            tenant=call.tenant,
            lease=body.lease,
            key=call.name("hold"),
            ttl=body.ttl,
            wait=False,
        )
    try:
        if hold.state != "shown":
            async with asyncio.timeout(call.query.wait):
                await hold.shown()
    except TimeoutError as error:
        if isinstance(error, PresenceError):  # it has ended: HoldTimeout
            raise
        return answer(_shape(hold, body), 202)
    return answer(_shape(hold, body), 200 if hold.state == "shown" else 202)


def _shape(hold: Hold, body: HoldBody) -> HoldShape:
    return {
        "tenant": hold.tenant,
        "user": hold.user,
        "hold": hold.key,
        "availability": hold.pair.availability,
        "activity": hold.pair.activity,
        "state": "shown" if hold.state == "shown" else "pending",
        "lease": body.lease,
        "until": iso(hold.until),
    }


async def delete_hold(call: Call[None, None]) -> web.StreamResponse:
    """End a hold, of whichever process."""
    outcome = await call.service.presence.release(
        call.name("user"), key=call.name("hold"), tenant=call.tenant
    )
    return answer(of_outcome(outcome))


async def clear(call: Call[ClearBody, None]) -> web.StreamResponse:
    """Clear a user, whoever holds it."""
    outcome = await call.service.presence.clear(
        call.name("user"), tenant=call.tenant, deadline=call.body.deadline
    )
    return answer(of_outcome(outcome))
