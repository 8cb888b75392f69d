"""Sessions, outcomes and tenants: pages with a cursor, or all of them, a line each."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, NoReturn

from aiohttp import web
from pydantic import AfterValidator, AwareDatetime, Field
from typing_extensions import TypedDict

from presence_manager.core.outcome import Kind
from presence_manager.core.session import Session
from presence_manager.errors import InvalidHold
from presence_manager.hosts.api import problems
from presence_manager.hosts.api.call import Call, Query, answer
from presence_manager.hosts.api.problems import Problem
from presence_manager.hosts.api.states import KNOWN_OF, State, state_of
from presence_manager.hosts.api.stream import Stream
from presence_manager.hosts.shapes import OutcomeShape, SessionShape, of_outcome, of_session
from presence_manager.manager.ids import checked

NDJSON = "application/x-ndjson"
LONGEST_PAGE = 1_000


def _id(text: str, what: str) -> str:
    try:
        return checked(text, what)
    except InvalidHold as error:
        raise ValueError(str(error)) from None


TenantId = Annotated[str, AfterValidator(lambda text: _id(text, "tenant"))]
UserId = Annotated[str, AfterValidator(lambda text: _id(text, "user"))]


class Page(Query):
    """Where a page begins, and how long it is."""

    limit: int = Field(default=100, ge=1, le=LONGEST_PAGE, description="items of the page")
    cursor: str | None = Field(
        default=None, max_length=500, description="where to go on: from the answer before"
    )


class SessionQuery(Page):
    """Which sessions."""

    tenant: TenantId | None = None
    user: UserId | None = None

    search: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="the beginning of a user's id, or a part of the name of a hold",
    )
    state: State | None = Field(
        default=None,
        description="pending: held, and not shown yet; unsure: held, and nobody knows whether it "
        "is shown; clearing: held by nobody any more, and not known to be gone",
    )


class OutcomeQuery(Page):
    """Which outcomes."""

    tenant: TenantId | None = None
    user: UserId | None = None
    kind: Kind | None = None
    sweep: str | None = Field(default=None, max_length=100, description="a sweep's id")
    since: AwareDatetime | None = Field(
        default=None, description="an instant, for example 2026-11-24T09:30:00Z"
    )


class SessionPage(TypedDict):
    """Some sessions; `next` is the address of the next page, None on the last."""

    sessions: list[SessionShape]
    next: str | None


class OutcomePage(TypedDict):
    """Some outcomes; `next` is the address of the next page, None on the last."""

    outcomes: list[OutcomeShape]
    next: str | None


class TenantShape(TypedDict):
    """A tenant's lane; see `PresenceManager.status`. Durations are in seconds."""

    tenant: str
    held: int
    waiting: int
    due: int
    late: float
    in_flight: int
    sent: int
    refused: int
    budget: int | None
    used: int
    window: float | None
    closed_for: float


class TenantList(TypedDict):
    """All tenants that the ledger, or this process, has dealt with."""

    tenants: list[TenantShape]
    owner: str
    state: str


Read = Callable[[Any, int], Awaitable[list[tuple[Any, Any]]]]
"""From a place and a limit to items, each with its place."""


async def sessions(call: Call[None, SessionQuery]) -> web.StreamResponse:
    """Say what is held, by every process of the ledger."""
    query, pages = call.query, call.service.presence.pages

    async def read(after: Any, limit: int) -> list[tuple[Any, SessionShape]]:
        place = None if after is None else (after[0], after[1])
        if query.user is not None or query.search is query.state is None:
            rows = await pages.sessions(
                tenant=query.tenant, user=query.user, after=place, limit=limit
            )
            rows = [row for row in rows if _fits(row, query)]
        else:
            known, held = KNOWN_OF[query.state] if query.state else (None, None)
            rows = await pages.search(
                query.search or "",
                tenant=query.tenant,
                known=known,
                held=held,
                after=place,
                limit=limit,
            )
        return [([row.tenant, row.user], of_session(row)) for row in rows]

    return await _listed(call, "sessions", read, _pair)


def _fits(row: Session, query: SessionQuery) -> bool:
    """Whether a session of a user that was asked for is one that is looked for besides."""
    text = query.search or ""
    found = row.user.startswith(text.lower()) or any(text in wish.name for wish in row.wishes)
    return found and query.state in (None, state_of(row.known, held=bool(row.wishes)))


async def outcomes(call: Call[None, OutcomeQuery]) -> web.StreamResponse:
    """Say what became of sessions, oldest first."""
    query, pages = call.query, call.service.presence.pages

    async def read(after: Any, limit: int) -> list[tuple[Any, OutcomeShape]]:
        rows = await pages.outcomes(
            sweep_id=query.sweep,
            kind=query.kind,
            tenant=query.tenant,
            user=query.user,
            since=query.since,
            after=after or 0,
            limit=limit,
        )
        return [(place, of_outcome(outcome)) for place, outcome in rows]

    return await _listed(call, "outcomes", read, _number)


async def tenants(call: Call[None, None]) -> web.StreamResponse:
    """Say how each tenant's lane is doing."""
    status = call.service.presence.status()
    lanes = {lane.tenant: lane for lane in status.lanes}
    known = sorted({*lanes, *await call.service.presence.pages.tenants()})
    shapes: list[TenantShape] = []
    for tenant in known:
        lane = lanes.get(tenant)
        shapes.append(
            {
                "tenant": tenant,
                "held": lane.held if lane else 0,
                "waiting": lane.waiting if lane else 0,
                "due": lane.due if lane else 0,
                "late": round(lane.late, 3) if lane else 0.0,
                "in_flight": lane.in_flight if lane else 0,
                "sent": lane.sent if lane else 0,
                "refused": lane.refused if lane else 0,
                "budget": lane.budget if lane else None,
                "used": lane.used if lane else 0,
                "window": lane.window if lane else None,
                "closed_for": round(lane.closed_for, 3) if lane else 0.0,
            }
        )
    found: TenantList = {"tenants": shapes, "owner": status.owner, "state": status.state}
    return answer(found)


async def _listed(
    call: Call[None, Any], name: str, read: Read, check: Callable[[Any], bool]
) -> web.StreamResponse:
    after = _place(call.query.cursor, check)
    if NDJSON in call.request.headers.get("Accept", ""):
        async with Stream(call.request, NDJSON) as stream:
            async for piece in _lines(after, read):
                await stream.write(piece)
        return stream.response
    limit = call.query.limit
    found = await read(after, limit + 1)
    page, more = found[:limit], len(found) > limit
    link = None
    if more:
        place = json.dumps(page[-1][0], separators=(",", ":")).encode()
        cursor = base64.urlsafe_b64encode(place).decode().rstrip("=")
        link = str(call.request.rel_url.update_query(cursor=cursor))
    return answer({name: [item for _, item in page], "next": link})


async def _lines(after: Any, read: Read) -> AsyncIterator[bytes]:
    while found := await read(after, LONGEST_PAGE):
        after = found[-1][0]
        yield b"".join(json.dumps(item).encode() + b"\n" for _, item in found)


def _place(cursor: str | None, check: Callable[[Any], bool]) -> Any:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        _no_cursor()
    return place if check(place) else _no_cursor()


def _no_cursor() -> NoReturn:
    raise Problem(problems.INVALID_REQUEST, "cursor: not one that this daemon has given")


def _pair(place: Any) -> bool:
    try:
        tenant, user = place
        return bool([checked(tenant, "tenant"), checked(user, "user")] == place)
    except (TypeError, ValueError):  # InvalidHold is one
        return False


def _number(place: Any) -> bool:
    return type(place) is int and 0 <= place < 2**63
