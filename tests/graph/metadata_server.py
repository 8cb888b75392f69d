"""The endpoint of a managed identity, on loopback: it does what it is told."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from .token_server import Reply, server_certificate


class MetadataServer:
    """Serves while entered; `asked` has the parameters of each request, `headers` its headers.

    The next requests get the replies in `script`, later ones a new token, or always `token`.
    """

    def __init__(self, token: str = "", *, tls: bool = False) -> None:
        self.token = token
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.script: deque[Reply] = deque()

        class Handler(_Handler):
            owner = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if tls:
            file = server_certificate()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            made = x509.load_pem_x509_certificate(file.read_bytes())
            self.thumbprint = made.fingerprint(hashes.SHA1()).hex()
        self.url = f"http{'s' * tls}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, path: str, headers: dict[str, str]) -> Reply:
        self.headers.append({name.lower(): value for name, value in headers.items()})
        self.asked.append({name: each[0] for name, each in parse_qs(urlsplit(path).query).items()})
        if self.script:
            return self.script.popleft()
        token = self.token or f"planted-token-{len(self.asked)}"
        life: dict[str, Any] = {"expires_in": "3600", "expires_on": str(int(time.time()) + 3600)}
        return Reply(200, {"access_token": token, "token_type": "Bearer"} | life)


class _Handler(BaseHTTPRequestHandler):
    owner: MetadataServer

    def do_GET(self) -> None:
        reply = self.owner.reply(self.path, dict(self.headers.items()))
        if reply.before is not None:
            reply.before()
        if reply.status is None:
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        with suppress(OSError):  # the client does not trust us
            super().handle()

    def log_message(self, *_: object) -> None:
        pass
