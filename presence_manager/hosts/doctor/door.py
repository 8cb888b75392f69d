"""One GET to a server that may be anybody: what it answers, and who it says it is."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aiohttp import (
    ClientError,
    ClientRequest,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from presence_manager.graph.bodies import Unreadable, read
from presence_manager.graph.connections import proxy_for, tls_context, user_agent
from presence_manager.graph.failures import told, unsent
from presence_manager.graph.headers import folded, http_date
from presence_manager.graph.resolver import Resolver
from presence_manager.settings import GraphSettings


class Unreached(Exception):
    """There was no answer; `code` is one of `graph.failures`, the text says why."""

    def __init__(self, code: str, says: str) -> None:
        super().__init__(says)
        self.code = code


class Answer(NamedTuple):
    """An answer, times in seconds since the epoch.

    `at` is when it came, on our clock, `date` what the server said the time was then.
    `expires` is when its certificate ends, None without TLS. `proxy` is the one on the way.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    at: float
    date: float | None
    expires: float | None
    proxy: str


class _Connector(TCPConnector):
    certificate: Mapping[str, Any] | None = None
    connected = False

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        self.connected = True
        if connection.transport is not None:
            self.certificate = connection.transport.get_extra_info("peercert")
        return connection


async def look(url: str, how: GraphSettings, *, token: str = "", most: int | None = None) -> Answer:
    """Ask once, as Graph is asked: same proxy, same trust, no redirect followed.

    The body is read up to `most` bytes, not at all by default. Raises Unreached, SettingsError.
    """
    proxy = proxy_for(url)
    tls = tls_context(how.ca_file)
    connector = _Connector(
        ssl=tls if tls is not None else True, resolver=Resolver(), force_close=True
    )
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    headers["User-Agent"] = user_agent()
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        async with (
            asyncio.timeout(how.timeout),
            ClientSession(
                connector=connector,
                cookie_jar=DummyCookieJar(),
                headers=headers,
                timeout=ClientTimeout(total=None, connect=how.connect_timeout),
                auto_decompress=False,
            ) as session,
            session.get(
                url,
                allow_redirects=False,
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy.headers if proxy else None,
            ) as response,
        ):
            at = time.time()
            answered = folded(response.headers)
            body = b"" if most is None else await read(response, most)
    except Unreadable as error:
        raise Unreached(error.code, str(error)) from None
    except (ClientError, OSError, ValueError) as error:
        code, says = told(error) if connector.connected else unsent(error, url)
        host = urlsplit(url).netloc
        raise Unreached(code, f"{host}: {says}" if connector.connected else says) from None
    return Answer(
        status=response.status,
        headers=answered,
        body=body,
        at=at,
        date=http_date(answered.get("date", "")),
        expires=_end(connector.certificate),
        proxy=proxy.url if proxy else "",
    )


def _end(certificate: Mapping[str, Any] | None) -> float | None:
    try:
        return float(ssl.cert_time_to_seconds((certificate or {})["notAfter"]))
    except (KeyError, ValueError):
        return None
