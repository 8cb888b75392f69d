"""The certificate to sign in with, read from its file: PEM or PFX."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from presence_manager.errors import SettingsError
from presence_manager.graph.tokens_file import read_file

if TYPE_CHECKING:
    from cryptography import x509

_SETTING = "client_certificate (PRESENCE_CLIENT_CERTIFICATE)"
_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_PASSWORD = "client_certificate_password (PRESENCE_CLIENT_CERTIFICATE_PASSWORD)"  # noqa: S105 - a name
_SHA256_WITHOUT_THUMBPRINT = (1, 35)  # the msal that computes it from the certificate


@dataclass(frozen=True, slots=True)
class Certificate:
    """A private key (unencrypted PEM) and its certificate (PEM); its repr shows neither."""

    path: Path
    pfx: bool
    private_key: str
    public_certificate: str
    sha1: str

    def __repr__(self) -> str:
        return f"Certificate({str(self.path)!r})"

    def credential(self, password: str, msal_version: str) -> dict[str, object]:
        """Return msal's `client_credential`.

        PS256 with the SHA-256 thumbprint wherever that msal can: from a PEM since 1.35, from
        a PFX always. Else RS256 with SHA-1, which the platform still takes.
        """
        if _version(msal_version) >= _SHA256_WITHOUT_THUMBPRINT:
            return {
                "private_key": self.private_key,
                "public_certificate": self.public_certificate,
            }
        if self.pfx:
            return {"private_key_pfx_path": str(self.path), "passphrase": password or None}
        return {"private_key": self.private_key, "thumbprint": self.sha1}


def read_certificate(path: Path, password: str, now: float) -> Certificate:
    """Read the certificate and its private key from one PEM or PFX file.

    `password` is that of the key, empty if it has none; one that is not needed is ignored. `now`
    is in seconds since the epoch. Raises SettingsError, naming the file and what to do, for a
    file that is not there or holds something else, a wrong password, a key that is missing or of
    another certificate, and a certificate that has expired.
    """
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - slow
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415

    data = read_file(path, _SETTING)
    pfx = b"-----BEGIN" not in data
    key, certificates = _pfx(path, data, password) if pfx else _pem(path, data, password)
    if not isinstance(key, RSAPrivateKey):
        raise _error(path, "holds a private key that is not RSA; the sign-in needs an RSA key")
    numbers = key.public_key().public_numbers()
    own = [c for c in certificates if getattr(c.public_key(), "public_numbers", int)() == numbers]
    if not own:
        raise _error(path, "holds a private key and a certificate that do not belong together")
    # A renewed certificate may stand beside the one it replaces, for the same key.
    certificate = max(own, key=lambda one: one.not_valid_after_utc)
    if certificate.not_valid_after_utc.timestamp() <= now:
        ended = certificate.not_valid_after_utc.astimezone(UTC)
        raise _error(path, f"expired on {ended:%Y-%m-%d}; make a new one and register it")
    if certificate.not_valid_before_utc.timestamp() > now:
        begins: datetime = certificate.not_valid_before_utc.astimezone(UTC)
        raise _error(path, f"is valid from {begins:%Y-%m-%d} only; is this machine's clock right?")
    return Certificate(
        path=path,
        pfx=pfx,
        private_key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        public_certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        sha1=certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - an identifier
    )


def _error(path: Path, what: str) -> SettingsError:
    return SettingsError(f"{_SETTING}: {path} {what}")


def _pem(path: Path, data: bytes, password: str) -> tuple[object, list[x509.Certificate]]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    block = _KEY.search(data)
    if block is None:
        raise _error(path, "holds no private key; certificate and key have to be in one file")
    encrypted = b"ENCRYPTED" in block.group()
    if encrypted and not password:
        raise _error(path, f"is encrypted: set {_PASSWORD}")
    # The texts of these exceptions say less than ours, and may quote what was read.
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(block.group(), password.encode() if encrypted else None)
        with suppress(ValueError):
            return key, load_pem_x509_certificates(data)
        raise _error(path, "holds no certificate that can be read; key and certificate are needed")
    if encrypted:
        raise _error(path, f"cannot be opened: {_PASSWORD} is wrong, or the file is damaged")
    raise _error(path, "holds a private key that cannot be read")


def _pfx(path: Path, data: bytes, password: str) -> tuple[object, list[x509.Certificate]]:
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    if not data.startswith(b"\x30"):
        raise _error(path, "is neither a PEM nor a PFX file")
    with suppress(ValueError):
        load_der_x509_certificate(data)
        raise _error(path, "holds a certificate alone; export it together with its private key")
    for given in dict.fromkeys((password.encode() or None, None, b"")):
        with suppress(ValueError, TypeError):
            key, certificate, others = pkcs12.load_key_and_certificates(data, given)
            break
    else:
        if not password:
            raise _error(path, f"cannot be opened: set {_PASSWORD}, or the file is damaged")
        raise _error(path, f"cannot be opened: {_PASSWORD} is wrong, or the file is damaged")
    if key is None:
        raise _error(path, "holds no private key; export it with the key")
    if certificate is None and not others:
        raise _error(path, "holds no certificate; key and certificate are needed")
    return key, [one for one in (certificate, *others) if one is not None]


def _version(text: str) -> tuple[int, int]:
    major, minor, *_ = [*re.findall(r"\d+", text), "0", "0"]
    return int(major), int(minor)
