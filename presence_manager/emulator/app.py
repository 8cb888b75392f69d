"""Graph over HTTP: the door (tokens), the two shapes of a request, and the headers of an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from random import Random

from aiohttp import web

from .answers import Answer, bytes_of, refusal
from .batch import Batches
from .faults import Fault
from .identity import Identity
from .journal import Entry
from .judge import Asked, Judge
from .tokens import GRAPH_ID, Tokens
from .wire import Reply, deliver, response_of

_VERSIONS = frozenset({"/v1.0", "/beta"})
_BATCH = frozenset({"/$batch", "/%24batch"})
_DIAGNOSTIC = json.dumps(
    {
        "ServerInfo": {
            "DataCenter": "Emulator",
            "Slice": "E",
            "Ring": "0",
            "ScaleUnit": "000",
            "RoleInstance": "LOOPBACK",
        }
    },
    separators=(",", ":"),
)
_UNREADABLE = refusal(400, "Unable to read JSON request payload.")
_UNSUPPORTED = refusal(415, "The Content-Type must be application/json.")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class GraphApp:
    """Answers every request that is for Graph; ``requests`` counts them."""

    def __init__(
        self,
        judge: Judge,
        tokens: Tokens,
        *,
        authority: Callable[[], str],
        seed: int,
        latency: float,
        outer_424: bool,
        closing: asyncio.Event,
    ) -> None:
        random = Random(seed)  # noqa: S311 - repeatable on purpose, secret from nobody
        self._judge = judge
        self._tokens = tokens
        self._authority = authority
        self._batches = Batches(judge, random, outer_424=outer_424)
        self._closing = closing
        self._id_prefix = f"{random.getrandbits(32):08x}-e000-4000-8000-"
        self._date = (-1, "")
        self.latency = latency
        self.requests = 0
        self.turned_away = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self.requests += 1
        raw = await request.read()
        now = self._judge.now()
        request_id = f"{self._id_prefix}{self.requests:012x}"
        client_id = request.headers.get("client-request-id", request_id)
        entries: Sequence[Entry] = ()
        fault: Fault | None = None
        who = self._identify(request)
        if isinstance(who, Answer):
            self.turned_away += 1
            answer = who
        else:
            answer, entries, fault = self._answer(request, who, raw, now, request_id, client_id)
        body, kind = bytes_of(answer, now, request_id, client_id)
        headers = {
            "Cache-Control": "no-cache",
            "request-id": request_id,
            "client-request-id": client_id,
            "x-ms-ags-diagnostic": _DIAGNOSTIC,
            "Date": self._date_at(int(now)),
        }
        if body:
            headers["Content-Type"] = kind
        if answer.headers:
            headers.update(answer.headers)
        reply = Reply(answer.status, headers, body)
        if self.latency:
            await asyncio.sleep(self.latency)
        if fault is None:
            response: web.StreamResponse = response_of(reply)
            transport = request.transport
            whole = transport is not None and not transport.is_closing()
        else:
            response, whole = await deliver(request, reply, fault, self._closing)
        if whole:
            for entry in entries:
                entry.answered = True
        return response

    def _answer(
        self,
        request: web.BaseRequest,
        who: Identity,
        raw: bytes,
        now: float,
        request_id: str,
        client_id: str,
    ) -> tuple[Answer, Sequence[Entry], Fault | None]:
        path = request.raw_path
        version, rest = path[:5], path[5:]
        if version not in _VERSIONS or not rest.startswith("/"):
            return (
                refusal(400, "Invalid version: " + path.removeprefix("/").partition("/")[0]),
                (),
                None,
            )
        body = _json(request, raw)
        if rest.partition("?")[0] in _BATCH:
            if request.method != "POST":
                message = "Specified HTTP method is not allowed for the request target."
                return refusal(405, message), (), None
            if isinstance(body, Answer):
                return body, (), None
            return self._batches.run(who, body, now, request_id, client_id)
        asked = Asked(who, request.method, rest, body, request_id)
        answer, entry, fault = self._judge.judge(asked, now)
        return answer, (entry,), fault

    def _identify(self, request: web.BaseRequest) -> Identity | Answer:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return self._unauthorized("Access token is empty.")
        who = self._tokens.verify(token)
        if who is None:
            return self._unauthorized("CompactToken parsing failed.")
        if not self._tokens.is_live(who):
            return self._unauthorized("Lifetime validation failed, the token is expired.", who)
        if self._tokens.is_revoked(token, who):
            claims = self._tokens.challenge() if who.cp1 else None
            return self._unauthorized("Continuous access evaluation failed.", who, claims)
        return who

    def _unauthorized(
        self, message: str, who: Identity | None = None, claims: str | None = None
    ) -> Answer:
        # Graph names itself as the client here, as its own answers do.
        tenant = "common" if who is None else who.tenant
        challenge = (
            f'Bearer realm="", authorization_uri="{self._authority()}/{tenant}/oauth2/authorize", '
            f'client_id="{GRAPH_ID}"'
        )
        if claims is not None:
            challenge += f', error="insufficient_claims", claims="{claims}"'
        return refusal(401, message, headers={"WWW-Authenticate": challenge})

    def _date_at(self, second: int) -> str:
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


def _json(request: web.BaseRequest, raw: bytes) -> object:
    """Return the JSON value that was sent, None for an empty body, or the refusal of it."""
    if not raw:
        return None
    if not request.headers.get("Content-Type", "").lower().startswith("application/json"):
        return _UNSUPPORTED
    try:
        document: object = json.loads(raw)
    except ValueError:
        return _UNREADABLE
    return document
