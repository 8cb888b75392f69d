"""Frames from a running daemon, by its HTTP API. Whoever answers there may be anybody."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

from presence_manager.graph.bodies import Unreadable, read
from presence_manager.graph.connections import user_agent
from presence_manager.graph.headers import clean_name
from presence_manager.hosts.top.frame import Frame, OutcomeLine, Rates, TenantLine

_TIMEOUT = 10.0
_LARGEST = 16 * 1024 * 1024
"""Bytes of an answer that are read."""
_COLUMNS = ("held", "waiting", "due", "in flight", "refused")
_FIELDS = ("held", "waiting", "due", "in_flight", "refused")
_OUTCOME = re.compile(
    r'^presence_manager_outcomes_total\{kind="(\w{1,40})"\} ([0-9.e+]{1,30})$', re.MULTILINE
)


class NoDaemon(Exception):
    """There is no daemon, or it does not answer us; the text says what to do."""


class Remote:
    """A daemon at `url`, which is an http(s) origin or unix:/path."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._rates = Rates()
        self._session: ClientSession | None = None

    async def open(self) -> None:
        """Begin; nothing is sent yet."""
        unix = self._url.removeprefix("unix:") if self._url.startswith("unix:") else ""
        headers = {"Accept-Encoding": "identity", "User-Agent": user_agent()}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._session = ClientSession(
            "http://localhost" if unix else self._url,
            connector=UnixConnector(unix) if unix else None,
            headers=headers,
            timeout=ClientTimeout(total=_TIMEOUT),
            auto_decompress=False,
        )

    async def look(self, now: float) -> Frame:
        """Return what there is at `now`. Raises NoDaemon."""
        tenants, metrics = await asyncio.gather(self._get("/v1/tenants"), self._get("/metrics"))
        document = _document(tenants)
        if document is None:
            raise NoDaemon(f"what answers at {self._url} is no daemon of presence-manager")
        totals = _totals(metrics)
        rates = self._rates.of(now, totals)
        lines = [_line(each) for each in document["tenants"] if isinstance(each, dict)]
        state = clean_name(document.get("state")) or "?"
        return Frame(
            source=f"daemon {self._url}",
            about=f"{state}, owner {clean_name(document.get('owner')) or '?'}",
            columns=_COLUMNS,
            tenants=tuple(sorted(lines, key=lambda line: (-sum(line.counts), line.tenant))),
            counted="since its start",
            outcomes=tuple(
                OutcomeLine(kind, count, rates[kind]) for kind, count in totals.most_common()
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, path: str) -> bytes:
        assert self._session is not None
        try:
            async with self._session.get(path, allow_redirects=False) as response:
                body = await read(response, _LARGEST)
        except (ClientError, OSError, ValueError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else _why(error)
            raise NoDaemon(f"{self._url}: {why}; is the daemon running there?") from None
        except Unreadable as error:
            raise NoDaemon(f"{self._url}: {error}") from None
        if response.status in (401, 403):
            raise NoDaemon(
                f"{self._url} wants a token that may read: name a file with it with --token-file"
            )
        if response.status != 200:
            raise NoDaemon(f"{self._url} answers HTTP {response.status} to {path}")
        return body


def _why(error: Exception) -> str:
    inner = getattr(error, "os_error", error)
    return str(getattr(inner, "strerror", "") or type(error).__name__)[:100]


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(document, dict) and isinstance(document.get("tenants"), list)
    return document if fits else None


def _line(told: dict[str, Any]) -> TenantLine:
    closed = told.get("closed_for")
    return TenantLine(
        tenant=clean_name(told.get("tenant")) or "?",
        counts=tuple(_whole(told.get(name)) or 0 for name in _FIELDS),
        used=_whole(told.get("used")) or 0,
        budget=_whole(told.get("budget")),
        closed_for=float(closed) if isinstance(closed, int | float) and closed < 1e6 else 0.0,
    )


def _whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


def _totals(metrics: bytes) -> Counter[str]:
    totals: Counter[str] = Counter()
    for kind, number in _OUTCOME.findall(metrics.decode("utf-8", "replace")):
        try:
            totals[kind] = int(float(number))
        except (ValueError, OverflowError):
            continue
    return totals
