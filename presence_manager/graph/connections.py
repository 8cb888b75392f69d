"""How Graph is reached: TLS, proxy, names, and the instant at which a request leaves.

What is decided here:

- TLS is always verified, against `graph.ca_file` or the system's authorities.
- A proxy is taken from HTTPS_PROXY or ALL_PROXY and NO_PROXY, once. aiohttp's own `trust_env` would
  read the environment and netrc in a thread for every request, and refuse the Authorization header
  for a host that netrc knows. This machine itself is never reached through a proxy.
- Names are looked up in daemon threads, so that a resolver that hangs cannot hold up the end of the
  process: the threads of asyncio's executor are waited for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from presence_manager.errors import SettingsError
from presence_manager.graph.answers import Answer

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
        self.request_id = str(uuid4())
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
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's word
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


class Resolver(AbstractResolver):
    """Looks names up in daemon threads."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raise OSError where there are none."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()

        def tell(found: list[Any], error: OSError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)

        def look() -> None:
            found: list[Any] = []
            error = None
            try:
                found = socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
                )
            except (OSError, UnicodeError) as problem:
                error = problem if isinstance(problem, OSError) else OSError(None, str(problem))
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(tell, found, error)

        threading.Thread(target=look, name="presence-manager-dns", daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=socket.getnameinfo(address, socket.NI_NUMERICHOST)[0]
                if len(address) > 2 and address[3]
                else address[0],
                port=port,
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, address in await future
        ]

    async def close(self) -> None:
        """Nothing to let go of: a thread that still looks ends by itself."""


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


def connector(tls: ssl.SSLContext | None) -> Connector:
    """Return the pool of connections; how many are open at a time is the lanes' business."""
    return Connector(
        ssl=tls if tls is not None else True,
        resolver=Resolver(),
        limit=0,
        keepalive_timeout=KEEP_ALIVE,
        ttl_dns_cache=60,
        timeout_ceil_threshold=float("inf"),
    )
