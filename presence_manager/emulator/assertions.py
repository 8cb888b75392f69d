"""Client assertions: a JWT that an application signs with its certificate instead of a secret.

Source: *Microsoft identity platform application authentication certificate credentials*.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .tokens import b64, json_of, unb64

SKEW = 300
"""Seconds by which the client's clock may be off."""


class BadAssertionError(Exception):
    """An assertion is refused; ``code`` is the AADSTS number."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def certificate_of(pem: str | bytes) -> x509.Certificate:
    """Read a certificate; ValueError if its key is not RSA, the only kind that signs here."""
    data = pem.encode() if isinstance(pem, str) else pem
    certificate = x509.load_pem_x509_certificate(data)
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise ValueError("an application's certificate must have an RSA key")
    return certificate


def check(
    assertion: str, app: str, certificates: Iterable[x509.Certificate], audiences: Collection[str]
) -> None:
    """Raise `BadAssertionError` unless one of the certificates signed this for that audience.

    Times are judged by the real clock, for the client dates its assertions by its own.
    """
    try:
        signed, _, signature = assertion.rpartition(".")
        header_text, _, payload_text = signed.partition(".")
        header, payload = json_of(header_text), json_of(payload_text)
        mark = unb64(signature)
    except ValueError:
        raise BadAssertionError(50027, "The client assertion is not a valid JWT.") from None
    certificate = next((c for c in certificates if _is_meant(header, c)), None)
    if certificate is None:
        raise BadAssertionError(
            700027,
            "The certificate with identifier used to sign the client assertion is not registered "
            "on application.",
        )
    _check_signature(header, signed.encode(), mark, certificate)
    _check_claims(payload, app, audiences)


def _is_meant(header: dict[str, Any], certificate: x509.Certificate) -> bool:
    # msal pads its thumbprints, which RFC 7515 does not want and Entra accepts.
    sha256 = header.get("x5t#S256")
    if sha256 is not None:
        return str(sha256).rstrip("=") == b64(certificate.fingerprint(hashes.SHA256()))
    return str(header.get("x5t")).rstrip("=") == b64(certificate.fingerprint(hashes.SHA1()))  # noqa: S303


def _check_signature(
    header: dict[str, Any], signed: bytes, mark: bytes, certificate: x509.Certificate
) -> None:
    scheme: padding.AsymmetricPadding
    match header.get("alg"):
        case "PS256":
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
        case "RS256":
            scheme = padding.PKCS1v15()
        case _:
            raise BadAssertionError(5002738, "The algorithm must be PS256 or RS256.")
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    try:
        key.verify(mark, signed, scheme, hashes.SHA256())
    except InvalidSignature:
        raise BadAssertionError(700027, "Client assertion failed signature validation.") from None


def _check_claims(payload: dict[str, Any], app: str, audiences: Collection[str]) -> None:
    audience = payload.get("aud")
    if not isinstance(audience, str) or audience not in audiences:
        raise BadAssertionError(700023, "Client assertion audience claim does not match.")
    if payload.get("iss") != app or payload.get("sub") != app:
        raise BadAssertionError(700021, "Client assertion issuer and subject must be the app.")
    now, ends, begins = time.time(), payload.get("exp"), payload.get("nbf", 0)
    if not isinstance(ends, (int, float)) or not isinstance(begins, (int, float)):
        raise BadAssertionError(50027, "The client assertion has no valid lifetime.")
    if not begins - SKEW <= now < ends + SKEW:
        raise BadAssertionError(700024, "Client assertion is not within its valid time range.")
