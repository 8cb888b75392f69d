"""The emulator as an object: what a test or a program holds in its hands."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from . import certificates
from .app import GraphApp
from .control import PREFIX, Control
from .oauth import SignIn
from .rules import DAY
from .throttle import RetryAfterStyle
from .world import World

DEFAULT_TENANT = "e0000000-0000-4000-8000-000000000001"
DEFAULT_APP = "e0000000-0000-4000-8000-00000000000a"
DEFAULT_SECRET = "emulator-secret"  # noqa: S105 - well known on purpose
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SHUTDOWN = 0.25
"""Seconds that requests in flight are given when the emulator stops."""
_BACKLOG = 1024


class Emulator(World):
    """Microsoft Graph's presence API on loopback, with a sign-in, a clock and faults to order.

    ``port``, ``authority_port``: 0 takes a free one. ``tls``: Graph over https; the authority is
    always https, on the same port then. ``limit`` operations in ``window`` seconds for each
    (application, tenant). ``retry_after``: how the header of a 429 is spelled. ``latency``: seconds
    between judging and answering. ``seed``: the order of batches and who is struck by chance.
    ``apps``: applications that may sign in, id to secret; the default application if None.
    ``tenants``, ``users``: the only ones there are; every GUID if None. ``clock``: POSIX seconds,
    real time if None. ``outer_424``: a batch with a throttled item answers 424, as an old page
    said. ``keep``: the journal keeps at least the newest so many entries, None for all.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        authority_port: int = 0,
        tls: bool = False,
        limit: int = 10_000,
        window: float = 30.0,
        retry_after: RetryAfterStyle = "whole",
        latency: float = 0.0,
        seed: int = 0,
        apps: Mapping[str, str] | None = None,
        tenants: Collection[str] | None = None,
        users: Collection[str] | None = None,
        clock: Callable[[], float] | None = None,
        outer_424: bool = False,
        keep: int | None = None,
    ) -> None:
        if host not in _LOOPBACK:
            raise ValueError("the emulator listens on loopback only")
        super().__init__(
            limit=limit,
            window=window,
            retry_after=retry_after,
            seed=seed,
            users=users,
            clock=clock,
            keep=keep,
            issuer=lambda tenant: f"{self.authority_url}/{tenant}/v2.0",
        )
        self._host = host
        self._tls = tls
        self._port = port
        self._authority_port = port if tls else authority_port
        self._closing = asyncio.Event()
        self._runners: list[web.ServerRunner] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._certificates: certificates.Certificates | None = None
        self._app = GraphApp(
            self._judge,
            self._tokens,
            authority=lambda: self.authority_url,
            seed=seed,
            latency=latency,
            outer_424=outer_424,
            closing=self._closing,
        )
        self._sign_in = SignIn(
            self._tokens,
            self._faults,
            authority=lambda: self.authority_url,
            tenants=tenants,
            closing=self._closing,
        )
        self._control = Control(self, self.statistics)
        for app_id, secret in ({DEFAULT_APP: DEFAULT_SECRET} if apps is None else apps).items():
            self.add_app(app_id, secret=secret)

    async def __aenter__(self) -> Self:
        """Make the certificates and listen."""
        self._folder = tempfile.TemporaryDirectory(prefix="presence-emulator-")
        try:
            self._certificates = certificates.make(Path(self._folder.name))
            await self.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and remove the certificates."""
        await self._close()

    async def _close(self) -> None:
        await self.stop()
        if self._folder is not None:
            self._folder.cleanup()

    async def start(self) -> None:
        """Listen, on the same ports as before after a `stop`; all that it knows is kept."""
        if self._certificates is None:
            raise RuntimeError("enter the emulator first: async with Emulator() as emulator")
        self._closing.clear()
        self._port = await self._listen(self._port, secure=self._tls)
        if self._tls:
            self._authority_port = self._port
        else:
            self._authority_port = await self._listen(self._authority_port, secure=True)
        self._tokens.audience = self.graph_url

    async def stop(self) -> None:
        """Stop listening: connections are cut, new ones refused, nothing is forgotten."""
        self._closing.set()
        for runner in self._runners:
            server = runner.server
            transports = [each.transport for each in server.connections] if server else []
            await runner.cleanup()
            # A TLS connection would wait half a minute for its peer to say goodbye.
            for transport in transports:
                if transport is not None:
                    transport.abort()
        self._runners.clear()
        await asyncio.sleep(0)

    async def _listen(self, port: int, *, secure: bool) -> int:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, port), family=family, backlog=_BACKLOG)
        # A client that gave up cancels its handler, so that nothing hangs on for it.
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        self._runners.append(runner)
        context = self._certificates.context if secure and self._certificates else None
        await web.SockSite(runner, listener, ssl_context=context, backlog=_BACKLOG).start()
        bound: int = listener.getsockname()[1]
        return bound

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        if path.startswith(PREFIX):
            return await self._control.handle(request)
        if request.secure and self._sign_in.serves(path):
            return await self._sign_in.handle(request)
        return await self._app.handle(request)

    @property
    def graph_url(self) -> str:
        """Graph's address, without version or trailing slash."""
        return f"{'https' if self._tls else 'http'}://{self._netloc(self._port)}"

    @property
    def authority_url(self) -> str:
        """The sign-in authority's address; the tenant follows as the path."""
        return f"https://{self._netloc(self._authority_port)}"

    def _netloc(self, port: int) -> str:
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    @property
    def ca_file(self) -> str:
        """The PEM file of the authority that signed the server's certificate."""
        if self._certificates is None:
            raise RuntimeError("the certificates are made when the emulator is entered")
        return str(self._certificates.ca_file)

    @property
    def requests(self) -> int:
        """HTTP requests to Graph, whatever became of them; a batch is one."""
        return self._app.requests

    @property
    def token_requests(self) -> int:
        """HTTP requests to the authority, discovery included."""
        return self._sign_in.requests

    @property
    def turned_away(self) -> int:
        """Requests answered 401 at the door; nothing was judged, so the journal has no entry."""
        return self._app.turned_away

    def statistics(self) -> dict[str, Any]:
        """Return the counters by name."""
        return {
            "requests": self.requests,
            "token_requests": self.token_requests,
            "turned_away": self.turned_away,
            "operations": self.operations,
            "refused": self.refused,
            "sessions": len(self.sessions()),
        }

    def add_app(
        self,
        app_id: str,
        *,
        secret: str | None = None,
        certificate_pem: str | bytes | None = None,
        tenants: Collection[str] | None = None,
    ) -> None:
        """Let an application sign in, by secret or certificate, to these tenants or all (None)."""
        self._sign_in.add(app_id, secret=secret, certificate_pem=certificate_pem, tenants=tenants)

    def environment(self) -> dict[str, str]:
        """Return the variables that point a presence-manager here, as the default application."""
        return {
            "PRESENCE_GRAPH__BASE_URL": self.graph_url,
            "PRESENCE_GRAPH__AUTHORITY": self.authority_url,
            "PRESENCE_GRAPH__CA_FILE": self.ca_file,
            "PRESENCE_TENANT_ID": DEFAULT_TENANT,
            "PRESENCE_CLIENT_ID": DEFAULT_APP,
            "PRESENCE_CLIENT_SECRET": DEFAULT_SECRET,
        }

    def describe(self) -> str:
        """Return how to reach the emulator, as text that a shell can also read."""
        token = self.token(DEFAULT_TENANT, DEFAULT_APP, lifetime=DAY)
        lines = [
            f"# Microsoft Graph presence, emulated at {self.graph_url}",
            f"# what it holds: {self.graph_url}{PREFIX}sessions",
            *(f"export {name}={value}" for name, value in self.environment().items()),
            "# instead of the secret, a token that is valid for a day:",
            f"# export PRESENCE_ACCESS_TOKEN={token}",
        ]
        return "\n".join(lines)
