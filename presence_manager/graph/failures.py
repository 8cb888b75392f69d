"""aiohttp's exceptions in our words: a code and a message that says what to do."""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientHttpProxyError,
    ClientPayloadError,
    ClientProxyConnectionError,
    ClientResponseError,
)

from presence_manager.errors import SignInUnavailable
from presence_manager.graph.bodies import Unreadable
from presence_manager.graph.connections import NotSent
from presence_manager.graph.headers import clean

TIMEOUT: Final = "timeout"
"""Code of a request that left and was not answered in time."""


def unsent(error: Exception, origin: str) -> tuple[str, str]:
    """Return code and message of a request of which nothing left."""
    host = urlsplit(origin).netloc
    if isinstance(error, NotSent):
        return error.code, clean(str(error))
    if isinstance(error, SignInUnavailable):
        return "signInUnavailable", clean(str(error))
    if isinstance(error, ClientConnectorCertificateError):
        return "tlsFailed", clean(
            f"the certificate of {host} is not trusted ({_reason(error.certificate_error)}): set "
            "graph.ca_file to the PEM file of the authority that signed it"
        )
    if isinstance(error, ssl.SSLError):
        return "tlsFailed", clean(f"no TLS with {host}: {_reason(error)}")
    if isinstance(error, ClientHttpProxyError):
        return "proxyFailed", f"the proxy answered {error.status}: see HTTPS_PROXY and NO_PROXY"
    if isinstance(error, ClientProxyConnectionError):
        return "proxyFailed", clean(
            f"no connection to the proxy ({_reason(error)}): see HTTPS_PROXY and NO_PROXY"
        )
    if isinstance(error, ClientConnectorDNSError):
        return "nameNotFound", clean(f"{host} cannot be looked up: {_reason(error)}")
    if isinstance(error, TimeoutError):
        return "connectTimeout", f"no connection to {host} in time"
    if isinstance(error, ClientConnectorError):
        return "connectFailed", clean(f"no connection to {host}: {_reason(error)}")
    return "connectFailed", clean(f"no connection to {host}: {type(error).__name__}")


def told(error: Exception) -> tuple[str, str]:
    """Return code and message of a request that may have left."""
    if isinstance(error, Unreadable):
        return error.code, str(error)
    if isinstance(error, TimeoutError):
        return TIMEOUT, "no answer in time"
    if isinstance(error, ClientPayloadError):
        return "cutOff", "the answer was cut off"
    if isinstance(error, ClientResponseError):
        return "unreadableAnswer", "the answer is not HTTP"
    if isinstance(error, ClientConnectionError | OSError):
        return "disconnected", "the connection ended before the answer"
    return "failed", f"the answer was not had: {type(error).__name__}"


def _reason(error: BaseException) -> str:
    if isinstance(error, ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "not verified"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "handshake failed").replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
