"""The daemon's work: to serve the HTTP API until the manager is closed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from presence_manager.errors import PresenceError, SettingsError
from presence_manager.hosts.api.app import make_app
from presence_manager.hosts.api.guard import Guard, host_of
from presence_manager.hosts.api.meters import Metered
from presence_manager.hosts.api.service import Service
from presence_manager.hosts.api.tokens import Tokens, tokens_of
from presence_manager.hosts.api.wire import Connection
from presence_manager.settings import HttpSettings
from presence_manager.settings.sections import is_loopback

log = structlog.get_logger()

HEAD_SECONDS = 65.0
"""Seconds within which a client has sent a request's head, and for which a connection may idle.

Longer than clients keep idle ones: a request that meets the daemon's end of it fails.
"""
BACKLOG = 4096
"""Connections that may wait to be accepted; what comes beyond is reset in the end."""
LAST_ANSWERS = 0.3
"""Seconds that requests in flight have, after the closing sweep, to be answered."""


class Server:
    """Listens where the settings say, from `bind` on, and answers within `work`.

    Raises SettingsError for an address that is taken, or that needs a token and has none, and for
    tokens or certificates that cannot be used.
    """

    def __init__(self, http: HttpSettings) -> None:
        self._tls = _tls(http)
        self._listen = http.listen
        names = {"localhost", *filter(None, http.hosts.split(","))}
        if http.listen.startswith("unix:") and not hasattr(socket, "AF_UNIX"):
            raise SettingsError("http.listen: this system has no Unix sockets: give host:port")
        self._unix = Path(http.listen[5:]) if http.listen.startswith("unix:") else None
        if self._unix is None:
            host = host_of(http.listen)
            names.add(host)
        self._guard = Guard(self._tokens(http), None if self._unix else frozenset(names))
        self._sockets: list[socket.socket] = []

    def _tokens(self, http: HttpSettings) -> Tokens:
        """The tokens of these settings, for the address that it has. Raises SettingsError."""
        tokens = tokens_of(http)
        if not tokens and self._unix is None and not is_loopback(host_of(self._listen)):
            raise SettingsError(
                f"http.listen: {self._listen} can be reached from other machines, and there is "
                "no token: set http.tokens_file (PRESENCE_HTTP__TOKENS_FILE), or listen on "
                "127.0.0.1 or unix:/path"
            )
        return tokens

    def read_anew(self, http: HttpSettings) -> Callable[[], None]:
        """Read tokens and certificate anew, and return what puts them in force.

        A certificate is used from the next connection on, a token from the next request on.
        Raises SettingsError for files that cannot be used; all stays as it was then.
        """
        tokens, tls = self._tokens(http), self._tls
        if tls is not None and http.tls_cert is not None:
            _tls(http)  # in a context of its own first: half a certificate would be none

        def put_in_force() -> None:
            self._guard.tokens = tokens
            if tls is not None and http.tls_cert is not None:
                _load(tls, http)

        return put_in_force

    @property
    def urls(self) -> list[str]:
        """Where it listens, as far as it does."""
        if self._unix is not None:
            return [f"unix:{self._unix}"]
        scheme = "https" if self._tls else "http"
        found = []
        for each in self._sockets:
            host, port = each.getsockname()[:2]
            found.append(
                f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
            )
        return found

    async def bind(self) -> None:
        """Take the address. Raises SettingsError."""
        try:
            if self._unix is not None:
                self._sockets = [_unix_socket(self._unix)]
            else:
                self._sockets = await _tcp_sockets(self._listen)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise SettingsError(
                f"http.listen: cannot listen on {self._listen}: {why}; is another daemon running "
                "there already?"
            ) from None

    async def work(self, metered: Metered, ready: Callable[[list[str]], None]) -> None:
        """Serve until cancelled, and then until the manager has closed."""
        service = Service(metered)
        runner = web.AppRunner(make_app(service, self._guard), shutdown_timeout=LAST_ANSWERS)
        await runner.setup()
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        connection = partial(
            Connection,
            runner.server,
            loop=loop,
            keepalive_timeout=HEAD_SECONDS,
            lingering_time=1.0,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
        )
        doors: list[asyncio.Server] = []
        try:
            for each in self._sockets:
                door = loop.create_server(connection, sock=each, ssl=self._tls, backlog=BACKLOG)
                doors += [await door]
            log.info("ready", urls=self.urls, tokens=bool(self._guard.tokens))
            ready(self.urls)
            service.readiness.sign_in()
            try:
                await asyncio.Future()
            finally:
                service.closing = True
                with suppress(PresenceError):
                    await service.presence.close()  # joins the closing that has begun
        finally:
            await service.close()
            for opened in doors:
                opened.close()
            await runner.cleanup()

    def close(self) -> None:
        """Let go of the address."""
        for each in self._sockets:
            each.close()
        if self._unix is not None and self._sockets:
            with suppress(OSError):
                self._unix.unlink()


def _tls(http: HttpSettings) -> ssl.SSLContext | None:
    if http.tls_cert is None:
        if http.tls_key is not None:
            raise SettingsError("http.tls_key: is of no use without http.tls_cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, http)
    return context


def _load(context: ssl.SSLContext, http: HttpSettings) -> None:
    assert http.tls_cert is not None
    try:
        # An encrypted key would be asked for at the terminal: there is none.
        context.load_cert_chain(http.tls_cert, http.tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a certificate with its key, in PEM"
        raise SettingsError(f"http.tls_cert: {http.tls_cert}: {why}") from None


async def _tcp_sockets(listen: str) -> list[socket.socket]:
    """A socket for each address of the host, all on one port."""
    host, port = host_of(listen), int(listen.rpartition(":")[2])
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(infos):
            place = (address[0], port, *address[2:])
            sockets.append(socket.create_server(place[:2], family=family, backlog=BACKLOG))
            port = sockets[0].getsockname()[1]
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _unix_socket(path: Path) -> socket.socket:
    """A socket at that path, for this user alone; one that nobody listens to any more goes."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
    made = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made
