"""A token endpoint over TLS that does what it is told: strict, odd, silent, or late.

It is written with the standard library's blocking server, on threads: what is tested is a
blocking client, and a refused TLS handshake must leave nothing behind in the test's event loop.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import shutil
import socket
import ssl
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from tenacity import wait_none

TENANT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
APP = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
SECRET = "s3cr3t/with+odd~characters=planted"
DEVICE_CODE = {
    "device_code": "planted-device-code",
    "user_code": "ABC-DEF",
    "verification_uri": "https://microsoft.com/devicelogin",
    "expires_in": 900,
    "interval": 0,
}


@dataclass
class Reply:
    """An answer; `before` is called first and may block; no status: the connection is cut."""

    status: int | None = 200
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None


def refused(code: int, error: str, text: str, **more: Any) -> Reply:
    """Answer as Microsoft Entra does."""
    description = (
        f"AADSTS{code}: {text}. Trace ID: 0a1b2c3d-0000-4000-8000-000000000000 "
        "Correlation ID: deadbeef-0000-4000-8000-000000000000 Timestamp: 2026-11-24 10:00:00Z"
    )
    return Reply(
        401 if error == "invalid_client" else 400,
        {
            "error": error,
            "error_description": description,
            "error_codes": [code],
            "correlation_id": "deadbeef-0000-4000-8000-000000000000",
            "trace_id": "0a1b2c3d-0000-4000-8000-000000000000",
            **more,
        },
    )


class TokenServer:
    """Serves while entered. `forms` are the token requests, `gets` the paths of the others.

    The next token requests get the replies in `script`, later ones what `judge` says of the form,
    or a new token; `discovery` replaces the OpenID configuration. `codes` are the forms of those
    who asked for a device code.
    """

    def __init__(self, life: float = 3600) -> None:
        self.life = life
        self.forms: list[dict[str, str]] = []
        self.gets: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.script: deque[Reply] = deque()
        self.discovery: Reply | None = None
        self.judge: Callable[[dict[str, str]], Reply | None] = lambda form: None
        self.codes: list[dict[str, str]] = []
        self._lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_certificate())

        class Handler(_Handler):
            owner = self
            tls = context

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self.ca_file = server_certificate()

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def secret(self, number: int) -> str:
        """The token that the `number`th token request was answered with, counted from 1."""
        return f"token-{number}"

    def reply(self, path: str, form: dict[str, str] | None, headers: dict[str, str]) -> Reply:
        with self._lock:
            self.headers.append(headers)
            tenant = path.split("/")[1]
            if form is None:
                self.gets.append(path)
                base = f"{self.url}/{tenant}"
                return self.discovery or Reply(
                    200,
                    {
                        "issuer": f"{base}/v2.0",
                        "token_endpoint": f"{base}/oauth2/v2.0/token",
                        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                    },
                )
            if path.endswith("/devicecode"):
                self.codes.append(form)
                return Reply(200, DEVICE_CODE)
            self.forms.append(form)
            if self.script:
                return self.script.popleft()
            judged = self.judge(form)
            if judged is not None:
                return judged
            token = self.secret(len(self.forms))
            return Reply(
                200, {"token_type": "Bearer", "expires_in": self.life, "access_token": token}
            )


class _Handler(BaseHTTPRequestHandler):
    owner: TokenServer
    tls: ssl.SSLContext
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        plain = self.request
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with self.tls.wrap_socket(plain, server_side=True) as self.connection:
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb")
                with self.rfile, self.wfile:
                    super().handle()
        except (OSError, ValueError):
            pass  # the client does not trust us, or has gone

    def finish(self) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer({name: values[0] for name, values in parse_qs(body).items()})

    def _answer(self, form: dict[str, str] | None) -> None:
        reply = self.owner.reply(self.path, form, dict(self.headers.items()))
        if reply.before is not None:
            reply.before()
        if reply.status is None:
            self.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


def jwt_of(**claims: Any) -> str:
    """A token that says this of itself, with a planted signature."""
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{middle}.planted-signature"


def user_reply(user: str, name: str, token: str = "planted-access-1") -> Reply:
    """What a user who has signed in is answered with."""
    info = base64.urlsafe_b64encode(json.dumps({"uid": user, "utid": TENANT}).encode()).decode()
    claims = {"oid": user, "tid": TENANT, "preferred_username": name, "aud": APP, "sub": user}
    return Reply(
        200,
        {
            "token_type": "Bearer",
            "scope": "https://graph.example/Presence.ReadWrite openid profile",
            "expires_in": 3600,
            "access_token": token,
            "refresh_token": f"planted-refresh-of-{user}",
            "id_token": jwt_of(**claims, exp=time.time() + 3600, iss="https://x", iat=time.time()),
            "client_info": info.rstrip("="),
        },
    )


def settings_for(server: TokenServer, **more: Any) -> Any:
    """Settings that sign in at this server, by secret unless told otherwise."""
    from presence_manager.settings import Settings

    graph = {"base_url": "https://graph.example", "authority": server.url}
    graph |= {"ca_file": str(server.ca_file)} | more.pop("graph", {})
    given = {"client_id": APP, "client_secret": SECRET, "graph": graph} | more
    if any(given.get(kind) for kind in _OTHERS):
        given["client_secret"] = None
    return Settings(**given)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


def tokens_at(server: TokenServer, clock: Clock | None = None, **more: Any) -> Any:
    """Sign-in at this server with a clock that is moved by hand, and no waits."""
    from presence_manager.graph.tokens_memory import default_retry
    from presence_manager.graph.tokens_msal import MsalTokens

    clock = clock or Clock()
    retry = default_retry().copy(wait=wait_none())
    more.setdefault("sign_in_timeout", 30)
    return MsalTokens(settings_for(server, **more), retry=retry, now=clock, ticks=clock)


def shown(error: BaseException) -> str:
    """Everything a traceback could show of an error, locals too, but for the test's own frame."""
    first = error.__traceback__
    trace = traceback.TracebackException(
        type(error), error, first and first.tb_next, capture_locals=True
    )
    return "".join(trace.format())


def threads_gone() -> None:
    """Wait until no thread of a sign-in is left."""
    for thread in threading.enumerate():
        if thread.name.startswith("sign-in"):
            thread.join(5)
            assert not thread.is_alive()


_OTHERS = ("client_secret_file", "client_certificate", "federated_token_file", "delegated")


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="token-server-")
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


def certificate(
    key: Any = None, *, days: tuple[float, float] = (-1, 30), name: str = "localhost"
) -> tuple[Any, x509.Certificate]:
    """Make a key (RSA, unless one is given) and a self-signed certificate for it."""
    key = key or rsa_key()
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, made


@functools.cache
def rsa_key(which: int = 0) -> rsa.RSAPrivateKey:
    """Return an RSA key, always the same for the same number: they take long to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_key(key: Any, password: str = "", *, traditional: bool = False) -> bytes:
    """Return a private key as PEM."""
    form = serialization.PrivateFormat
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            form.TraditionalOpenSSL if traditional else form.PKCS8,
            serialization.BestAvailableEncryption(password.encode())
            if password
            else serialization.NoEncryption(),
        )
    )


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


@functools.cache
def server_certificate() -> Path:
    """Return the file with the key and the certificate of the servers on loopback."""
    key, made = certificate(ec.generate_private_key(ec.SECP256R1()))
    path = _folder() / "server.pem"
    path.write_bytes(pem_key(key) + pem(made))
    return path
