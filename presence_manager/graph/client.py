"""One HTTP request to Graph, and what became of it. Implements `ports.Graph`.

A request is never repeated here, nor by aiohttp: that repeats only idempotent methods (RFC 9110),
all of Graph's actions are POSTs, and no redirect is followed. An idle connection that Graph closed
while we wrote on it makes the request LOST, as anything else after the first byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Final

from aiohttp import ClientSession, ClientTimeout
from yarl import URL

from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Attempt
from presence_manager.core.verdict import Judgement, Verdict
from presence_manager.errors import SignInRefused, SignInUnavailable
from presence_manager.graph import wire
from presence_manager.graph.answers import Answer, Judged, date_of, judge, request_id_of, wait_of
from presence_manager.graph.batches import judge_batch
from presence_manager.graph.bodies import read
from presence_manager.graph.connections import (
    Departure,
    NotSent,
    departing,
    proxy_for,
    session,
    tls_context,
)
from presence_manager.graph.failures import TIMEOUT, told, unsent
from presence_manager.graph.headers import clean, folded
from presence_manager.graph.signin import SignIn
from presence_manager.ports import Clock, Token, Tokens
from presence_manager.settings import GraphSettings

BATCH_BODY_MAX: Final = 4 * 1024 * 1024
"""Bytes of an answer to a batch, at most; also once unpacked."""
SINGLE_BODY_MAX: Final = 64 * 1024
"""Bytes of an answer to a single request, at most."""


class GraphClient:
    """Microsoft Graph, reached with aiohttp.

    `requests` counts the HTTP requests that left, answered or not. Connections are made on first
    use, in the event loop that is running then.
    """

    def __init__(self, settings: GraphSettings, tokens: Tokens, clock: Clock) -> None:
        """Raises SettingsError for a CA file or a proxy that cannot be used."""
        self.requests = 0
        self._origin = settings.base_url
        self._root = f"{settings.base_url}/{settings.version}"
        self._timeout = ClientTimeout(
            total=None, connect=settings.connect_timeout, ceil_threshold=inf
        )
        self._sign_in = SignIn(tokens, clock)
        self._clock = clock
        self._tls = tls_context(settings.ca_file)
        self._proxy = proxy_for(settings.base_url)
        self._session: ClientSession | None = None
        self._closed = False
        self._date: tuple[float, float] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<GraphClient {self._root} {state}, {self.requests} requests>"

    async def send(
        self,
        lane: LaneId,
        asks: Sequence[tuple[Key, Attempt]],
        timeout: float,
    ) -> list[Verdict]:
        """Make one request; return what became of each session's attempt.

        Sessions that cannot be asked for (an id that is no GUID) are denied, those whose `send_by`
        has passed are put off; the others go without them. Raises ValueError for a call that
        breaks clause 1: more than 20 sessions, one user twice, or another lane's.
        """
        _check(lane, asks)
        now = self._clock.now()
        if lane.origin != self._origin:
            text = f"the session is of another Graph than {self._origin}: nothing was sent"
            return [_not_sent(Judgement.DENIED, now, now, "otherOrigin", text)] * len(asks)
        parts: list[wire.Part] = []
        send_by = inf
        held: dict[int, Verdict] = {}  # those that do not leave, by their place
        for place, (key, attempt) in enumerate(asks):
            try:
                part = wire.part(key, attempt)
            except ValueError as error:
                text = clean(str(error))
                held[place] = _not_sent(Judgement.DENIED, now, now, "invalidRequest", text)
                continue
            if attempt.send_by < now:
                held[place] = _not_sent(Judgement.LATER, now, now, "tooLate", _TOO_LATE)
                continue
            parts.append(part)
            send_by = min(send_by, attempt.send_by)
        if not parts:
            return list(held.values())
        verdicts = await self._attempt(lane, parts, send_by, timeout)
        for place, verdict in held.items():
            verdicts.insert(place, verdict)
        return verdicts

    def date(self) -> float | None:
        """Return Graph's present time by its Date header, carried on by our clock.

        It may be a second behind Graph's clock, which the header has in whole seconds, not ahead.
        """
        if self._date is None:
            return None
        date, at = self._date
        return date + (self._clock.now() - at)

    async def close(self) -> None:
        """Close all connections; what is still in flight is lost."""
        self._closed = True
        opened, self._session = self._session, None
        if opened is not None:
            await opened.close()

    async def _attempt(
        self, lane: LaneId, parts: list[wire.Part], send_by: float, seconds: float
    ) -> list[Verdict]:
        count = len(parts)
        start = self._clock.now()
        departure = Departure(lambda: self._gate(send_by))
        token: Token | None = None
        try:
            if self._closed:
                raise NotSent("closed", _CLOSED)
            if seconds <= 0:
                raise TimeoutError
            async with asyncio.timeout(seconds):
                token = await self._sign_in.token(lane.tenant)
                judged = await self._exchange(parts, token, departure)
        except SignInRefused:
            raise
        except Exception as error:  # whatever it is, the ledger needs a verdict
            if departure.sent_at is not None:
                return [self._lost(error, departure, count)] * count
            if self._closed:
                error = NotSent("closed", _CLOSED)
            elif token is None and not isinstance(error, NotSent):
                error = _no_token(error)
            code, message = unsent(error, self._origin)
            return [_not_sent(Judgement.LATER, start, self._clock.now(), code, message)] * count
        if any(verdict.judgement is Judgement.UNAUTHORIZED for verdict in judged.verdicts):
            self._sign_in.refused(lane.tenant, token, judged.claims, judged.verdicts[0].sent_at)
        return judged.verdicts

    async def _exchange(self, parts: list[wire.Part], token: Token, departure: Departure) -> Judged:
        single = len(parts) == 1
        request = wire.single(self._root, parts[0]) if single else wire.batch(self._root, parts)
        departing.set(departure)
        async with (self._session or self._open()).post(
            URL(request.url, encoded=True),
            data=request.body,
            headers={
                "Authorization": f"Bearer {token.secret}",
                "client-request-id": departure.request_id,
            },
            allow_redirects=False,
            timeout=self._timeout,
            proxy=self._proxy.url if self._proxy else None,
            proxy_headers=self._proxy.headers if self._proxy else None,
        ) as response:
            at = self._clock.now()
            headers = folded(response.headers)
            date = date_of(headers)
            if date is not None:
                self._date = date, at
            assert departure.sent_at is not None
            departure.answer = Answer(response.status, headers, b"", departure.sent_at, at)
            body = await read(response, SINGLE_BODY_MAX if single else BATCH_BODY_MAX)
        secret = token.secret.encode()
        if len(secret) >= _SECRET_MIN and secret in body:  # an echo must not reach a log
            body = body.replace(secret, b"[token]")
        answer = departure.answer._replace(body=body, at=self._clock.now())
        return judge(answer) if single else judge_batch(answer, len(parts))

    def _gate(self, send_by: float) -> float:
        """Return the instant at which a request leaves; raise NotSent if it must not any more."""
        if self._closed:
            raise NotSent("closed", _CLOSED)
        now = self._clock.now()
        if now > send_by:
            raise NotSent("tooLate", _TOO_LATE)
        self.requests += 1
        return now

    def _open(self) -> ClientSession:
        if self._closed:  # while the token was waited for
            raise NotSent("closed", _CLOSED)
        self._session = session(self._tls)
        return self._session

    def _lost(self, error: Exception, departure: Departure, count: int) -> Verdict:
        assert departure.sent_at is not None
        code, message = told(error)
        answer = departure.answer
        return Verdict(
            judgement=Judgement.LOST,
            sent_at=departure.sent_at,
            at=self._clock.now(),
            status=answer.status if answer else None,
            code=code,
            message=f"{message} (client-request-id {departure.request_id})",
            request_id=request_id_of(answer.headers) if answer else "",
            retry_after=wait_of(answer.headers, answer) if answer else None,
            singly=count > 1 and code == TIMEOUT,
        )


_SECRET_MIN: Final = 12
"""Bytes of a token that is one; a shorter word, in tests, may be a word of the answer's too."""
_CLOSED: Final = "the client is closed: nothing was sent"
_TOO_LATE: Final = "the attempt could not leave by its send_by: nothing was sent"


def _check(lane: LaneId, asks: Sequence[tuple[Key, Attempt]]) -> None:
    if len(asks) > wire.BATCH_MAX:
        raise ValueError(f"one request takes up to {wire.BATCH_MAX} sessions, not {len(asks)}")
    if len({user for (_, user), _ in asks}) != len(asks):
        raise ValueError("one request cannot ask twice for one user")
    if any(where is not lane and where != lane for (where, _), _ in asks):
        raise ValueError("all sessions of one request must be of its lane")


def _no_token(error: Exception) -> SignInUnavailable:
    if isinstance(error, SignInUnavailable):
        return error
    why = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return SignInUnavailable(f"no token for Graph: {why}")


def _not_sent(judgement: Judgement, start: float, at: float, code: str, message: str) -> Verdict:
    return Verdict(judgement=judgement, sent_at=start, at=at, code=code, message=message)
