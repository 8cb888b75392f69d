"""One request, read and checked as its route says, and the route itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aiohttp import http, web
from pydantic import BaseModel, ConfigDict, ValidationError

from presence_manager.hosts.api import problems
from presence_manager.hosts.api.problems import Problem
from presence_manager.hosts.api.service import Service

LARGEST_BODY = 64 * 1024
"""Bytes of a request's body."""
BODY_SECONDS = 10.0
"""Seconds within which a body has arrived."""

_CLOSE = {"Connection": "close"}
_encoder = json.JSONEncoder(separators=(",", ":"))

SERVICE = web.AppKey("service", Service)


class Body(BaseModel):
    """A request's JSON: no name that is not known, and no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Query(BaseModel):
    """A request's query: no name that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


B = TypeVar("B", bound=Body | None)
Q = TypeVar("Q", bound=Query | None)


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """A request that has passed all checks."""

    service: Service
    request: web.Request
    body: B
    query: Q

    def name(self, part: str) -> str:
        """A part of the path."""
        return self.request.match_info[part]

    @property
    def tenant(self) -> str | None:
        """The tenant of the path; None for `default`, the one of the settings."""
        return None if self.name("tenant") == "default" else self.name("tenant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing that can be asked, for the router and for the OpenAPI document alike.

    `answers` says by status what a good answer carries: a type for JSON, or a media type.
    `problems` are those that this route alone has. Without `needs_body` the body may be absent.
    """

    method: str
    path: str
    handler: Callable[[Call[Any, Any]], Awaitable[web.StreamResponse]]
    summary: str
    answers: Mapping[int, Any]
    body: type[Body] | None = None
    needs_body: bool = True
    largest: int = LARGEST_BODY
    query: type[Query] | None = None
    problems: tuple[problems.Type, ...] = ()
    public: bool = False
    also: Mapping[str, Any] = field(default_factory=dict)
    """Further media types of the answer 200, and their types."""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        query = _query(self.query, request)
        body = await self._body(request)
        return await self.handler(Call(request.app[SERVICE], request, body, query))

    async def _body(self, request: web.Request) -> Body | None:
        data = await read(request, self.largest)
        if self.body is None:
            if data:
                raise Problem(problems.INVALID_REQUEST, "this request takes no body")
            return None
        if not data and not self.needs_body:
            return self.body()
        if request.content_type != "application/json":
            raise Problem(
                problems.UNSUPPORTED, "send the body as JSON, with Content-Type: application/json"
            )
        try:
            return self.body.model_validate_json(data)
        except ValidationError as error:
            raise _told(error, "the body") from None


def answer(shape: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer in JSON."""
    return web.json_response(shape, status=status, headers=headers, dumps=_encoder.encode)


async def read(request: web.Request, most: int) -> bytes:
    """Read the whole body, if it is not too large and does not come too slowly."""
    if not request.can_read_body:
        return b""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(problems.UNSUPPORTED, "send the body as it is, without Content-Encoding")
    length = request.content_length
    if length is not None and length > most:
        raise _too_large(most)
    data = bytearray()
    try:
        if request.content.is_eof():  # it came with the head, as most do
            data += request.content.read_nowait()
            if len(data) > most:
                raise _too_large(most)
            return bytes(data)
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise Problem(
            problems.TIMEOUT,
            f"the body has not arrived within {BODY_SECONDS:g} s",
            headers=_CLOSE,
        ) from None
    except (web.RequestPayloadError, http.HttpProcessingError):
        raise Problem(
            problems.INVALID_REQUEST, "the body is cut off or garbled", headers=_CLOSE
        ) from None
    return bytes(data)


def _too_large(most: int) -> Problem:
    return Problem(
        problems.TOO_LARGE,
        f"the body may have {most:,} bytes",
        headers=_CLOSE,
    )


def _query(kind: type[Query] | None, request: web.Request) -> Query | None:
    given = dict(request.query)
    if len(given) < len(request.query):
        raise Problem(problems.INVALID_REQUEST, "a parameter of the query is given twice")
    if kind is None:
        if given:
            raise Problem(problems.INVALID_REQUEST, "this request takes no query")
        return None
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _told(error, "the query", problems.INVALID_REQUEST) from None


def _told(
    error: ValidationError, where: str, kind: problems.Type = problems.INVALID_HOLD
) -> Problem:
    """Say what is wrong, without repeating what was sent."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    if any(fault["type"] == "json_invalid" for fault in faults):
        kind = problems.INVALID_REQUEST
    lines = []
    for fault in faults[:10]:
        name = ".".join(str(part) for part in fault["loc"])[:80]
        lines.append(f"{ascii(name)[1:-1]}: {fault['msg']}" if name else fault["msg"])
    return Problem(kind, f"{where} is not accepted: " + "; ".join(lines))
