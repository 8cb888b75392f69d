"""`presence-manager health` and `drain`: what a container's probes and hooks ask of the daemon.

They ask the daemon of these settings, on this machine, and need nothing that is not there anyway.
"""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from presence_manager.hosts.cli.running import Status, Wrong, fail, say
from presence_manager.hosts.cli.times import seconds as duration
from presence_manager.settings import HttpSettings, Settings

PATIENCE = 5.0
"""Seconds within which the daemon answers."""
_LARGEST = 16 * 1024 * 1024
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be asked, not to be bound


class NoAnswer(Exception):
    """The daemon does not answer, or not as a daemon does; the text says why."""


def health(*, ready: bool) -> int:
    """Say whether the daemon is alive, or, with `ready`, whether it takes holds."""
    http = Settings().http
    try:
        status, said = _ask(http, "GET", "/readyz" if ready else "/healthz")
    except NoAnswer as error:
        fail(str(error))
        return Status.PROBLEMS
    if status == 200:
        print("ready" if ready else "alive")
        return Status.DONE
    faults = said.get("faults")
    fail("\n".join(map(str, faults)) if faults else f"it answered {status}")
    return Status.PROBLEMS


def drain(deadline: str | None) -> int:
    """Have the daemon refuse new holds and clear all that it holds; wait until that is done."""
    from presence_manager.hosts.api.tokens import own_token  # noqa: PLC0415 - not for probes

    found = Settings()
    seconds = found.shutdown.deadline if deadline is None else duration(deadline, "--deadline")
    body = None if deadline is None else {"deadline": seconds}
    patience = seconds + PATIENCE
    try:
        token = own_token(found.http)
        status, said = _ask(found.http, "POST", "/v1/drain", body, token=token, patience=patience)
    except NoAnswer as error:
        fail(str(error))
        return Status.PROBLEMS
    if status != 200:
        fail(f"it was not drained: {said.get('detail') or f'the daemon answered {status}'}")
        return Status.PROBLEMS
    counts = said.get("counts") or {}
    say("drained: " + (", ".join(f"{n} {kind}" for kind, n in counts.items()) or "held nothing"))
    return Status.DONE if said.get("ok") else Status.PROBLEMS


def _ask(
    http: HttpSettings,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    token: str = "",
    patience: float = PATIENCE,
) -> tuple[int, dict[str, Any]]:
    """Make one request of the daemon; return status and answer. Raises NoAnswer, Wrong."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    text = None if body is None else json.dumps(body)
    if text is not None:
        headers["Content-Type"] = "application/json"
    try:
        with closing(_connection(http, patience, trusted=bool(token))) as connection:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            said = json.loads(answer.read(_LARGEST))
    except TimeoutError:
        raise NoAnswer(f"no answer from {http.listen} within {patience:g} s") from None
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise NoAnswer(
            f"no daemon answers at {http.listen}: {why}\n"
            "start it with presence-manager run, or let PRESENCE_HTTP__LISTEN name its address"
        ) from None
    return answer.status, said if isinstance(said, dict) else {}


class _UnixConnection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(http: HttpSettings, patience: float, *, trusted: bool) -> HTTPConnection:
    if http.listen.startswith("unix:"):
        return _UnixConnection(http.listen.removeprefix("unix:"), patience)
    host, _, port = http.listen.rpartition(":")
    host = host.strip("[]")
    host = _ANY_ADDRESS.get(host, host)
    if port == "0":
        raise Wrong(
            "http.listen: port 0 is another one each time: set the port that is to be asked"
        )
    if http.tls_cert is None:
        return HTTPConnection(host, int(port), timeout=patience)
    # Its certificate is for the names by which others call it: what counts is that it is this one.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if trusted:
        context.load_verify_locations(http.tls_cert)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:  # nothing secret is sent, and the file may be newer than what the daemon has loaded
        context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, int(port), timeout=patience, context=context)
