"""How Graph is reached: TLS, proxy, names, and the instant at which a request leaves.

What is decided here:

- TLS is always verified, against `graph.ca_file` or the system's authorities.
- A proxy is taken from HTTPS_PROXY or ALL_PROXY and NO_PROXY, once. aiohttp's own `trust_env` would
  read the environment and netrc in a thread for every request, and refuse the Authorization header
  for a host that netrc knows. This machine itself is never reached through a proxy.
- Connections are kept for a short while only, and no cookie is.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import getrandbits
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientRequest, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from presence_manager.errors import SettingsError
from presence_manager.graph.answers import Answer
from presence_manager.graph.resolver import Resolver

KEEP_ALIVE: Final = 15.0
"""Seconds an idle connection is kept: well below what servers and load balancers allow."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class NotSent(Exception):
    """The request was held back at the last instant; `code` says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Departure:
    """One request's way: `sent_at` is set just before its first byte may leave.

    `gate` is called at that instant and returns the time, or raises NotSent to hold it back.
    `request_id` is our own name for the request (client-request-id). `answer` is what has arrived
    of the answer: status and headers first.
    """

    __slots__ = ("answer", "gate", "request_id", "sent_at")

    def __init__(self, gate: Callable[[], float]) -> None:
        self.gate = gate
        # A name, not a secret: the system's random numbers would cost a call to the kernel.
        name = f"{getrandbits(128):032x}"
        self.request_id = f"{name[:8]}-{name[8:12]}-4{name[13:16]}-a{name[17:20]}-{name[20:]}"
        self.sent_at: float | None = None
        self.answer: Answer | None = None


departing: ContextVar[Departure] = ContextVar("departing")
"""The request that this task is about to send."""


class Connector(TCPConnector):
    """Connections to Graph; knows the instant at which a request may begin to leave.

    Until `connect` has answered, nothing of a request was written (a proxy has at most been asked
    for a tunnel). From then on it may have been.
    """

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,
    ) -> Connection:
        """Return a connection that is ready for the request, unless it must not leave any more."""
        connection = await super().connect(req, traces, timeout)
        departure = departing.get()
        try:
            departure.sent_at = departure.gate()
        except BaseException:
            connection.release()
            raise
        return connection


class Proxy(NamedTuple):
    """A proxy's address without its password, and the header that carries it."""

    url: str
    headers: dict[str, str]


def proxy_for(origin: str) -> Proxy | None:
    """Return the proxy that the environment names for an origin; None for a direct connection.

    Raises SettingsError for an address that is none.
    """
    host = urlsplit(origin).hostname or ""
    proxies = getproxies()
    address = proxies.get("https") or proxies.get("all")
    if not address or host in _LOOPBACK or proxy_bypass(host):
        return None
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            "the proxy named by HTTPS_PROXY or ALL_PROXY must be http://host:port "
            "(SOCKS is not supported); NO_PROXY excepts hosts from it"
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    return Proxy(f"{parts.scheme}://{name}" + (f":{port}" if port else ""), headers)


def tls_context(ca_file: Path | None) -> ssl.SSLContext | None:
    """Return the context that trusts only `ca_file`; None for the system's authorities.

    Raises SettingsError, naming the file, when it cannot be used.
    """
    if ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, ValueError):
        raise SettingsError(
            f"graph.ca_file: {ca_file} holds no certificate in PEM form that could be trusted"
        ) from None
    except OSError as error:
        raise SettingsError(f"graph.ca_file: {ca_file} cannot be read: {error.strerror}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def session(tls: ssl.SSLContext | None) -> ClientSession:
    """Return a session in the running loop; how many connections it has is the lanes' business."""
    return ClientSession(
        connector=Connector(
            ssl=tls if tls is not None else True,
            resolver=Resolver(),
            limit=0,
            keepalive_timeout=KEEP_ALIVE,
            ttl_dns_cache=60,
        ),
        cookie_jar=DummyCookieJar(),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": user_agent(),
        },
        auto_decompress=False,
        trust_env=False,
    )


@cache
def user_agent() -> str:
    """Return presence-manager and its version."""
    try:
        return f"presence-manager/{version('presence-manager')}"
    except PackageNotFoundError:
        return "presence-manager"
