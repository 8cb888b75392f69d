"""Certificates: what is read, and what is said about files that will not do."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from presence_manager.errors import SettingsError
from presence_manager.graph.tokens_certificate import read_certificate

from .token_server import certificate, pem, pem_key, rsa_key

PASSWORD = "pässword-planted"
Made = tuple[Any, x509.Certificate]


@functools.cache
def good() -> Made:
    return certificate()


def pfx(made: Made, password: str = "", *, key: bool = True, own: bool = True) -> bytes:
    encryption: Any = serialization.NoEncryption()
    if password:
        encryption = (
            serialization.PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(1000)
            .build(password.encode())
        )
    return pkcs12.serialize_key_and_certificates(
        b"app", made[0] if key else None, made[1] if own else None, None, encryption
    )


WAYS: dict[str, Callable[[Made], bytes]] = {
    "key first": lambda made: pem_key(made[0]) + pem(made[1]),
    "certificate first": lambda made: pem(made[1]) + pem_key(made[0]),
    "windows lines": lambda m: (pem(m[1]) + pem_key(m[0])).replace(b"\n", b"\r\n"),
    "bag attributes": lambda made: (
        (b"Bag Attributes\n  friendlyName: app\n" + pem(made[1]) + b"Key Attributes\n")
        + pem_key(made[0])
    ),
    "traditional": lambda made: pem_key(made[0], traditional=True) + pem(made[1]),
    "encrypted": lambda made: pem_key(made[0], PASSWORD) + pem(made[1]),
    "encrypted traditional": lambda made: (
        pem_key(made[0], PASSWORD, traditional=True) + pem(made[1])
    ),
    "chain": lambda made: pem(other()[1]) + pem_key(made[0]) + pem(made[1]),
    "pfx": pfx,
    "pfx encrypted": lambda made: pfx(made, PASSWORD),
}


@functools.cache
def other() -> Made:
    return certificate(rsa_key(1), name="somebody else")


@pytest.mark.parametrize("way", WAYS)
def test_pem_and_pfx_are_read(tmp_path: Path, way: str) -> None:
    file = tmp_path / "app"
    file.write_bytes(WAYS[way](good()))
    read = read_certificate(file, PASSWORD, time.time())
    assert read.public_certificate.encode() == pem(good()[1])
    assert read.private_key.encode() == pem_key(good()[0])
    assert read.sha1 == good()[1].fingerprint(hashes.SHA1()).hex()
    assert read.pfx == way.startswith("pfx")
    assert repr(read) == f"Certificate({str(file)!r})"


def test_of_two_for_one_key_the_newer_is_taken(tmp_path: Path) -> None:
    key, newer = good()
    older = certificate(key, days=(-20, -10))[1]
    file = tmp_path / "app.pem"
    file.write_bytes(pem(older) + pem(newer) + pem_key(key))
    read = read_certificate(file, "", time.time())
    assert read.public_certificate.encode() == pem(newer)


FAULTS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b" \n", "", "is empty"),
    "text": (lambda: b"hello", "", "is neither a PEM nor a PFX file"),
    "huge": (lambda: b"x" * 1_048_577, "", "is too large"),
    "no key": (lambda: pem(good()[1]), "", "holds no private key"),
    "public key": (
        lambda: (
            good()[0]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ),
        "",
        "holds no private key",
    ),
    "no certificate": (lambda: pem_key(good()[0]), "", "holds no certificate"),
    "damaged certificate": (
        lambda: pem_key(good()[0]) + pem(good()[1])[:200] + b"\n-----END CERTIFICATE-----\n",
        "",
        "holds no certificate that can be read",
    ),
    "damaged key": (
        lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + pem(good()[1]),
        "",
        "private key that cannot be read",
    ),
    "not a pair": (lambda: pem_key(good()[0]) + pem(other()[1]), "", "do not belong together"),
    "elliptic": (lambda: pair(ec.generate_private_key(ec.SECP256R1())), "", "not RSA"),
    "no password": (
        lambda: WAYS["encrypted"](good()),
        "",
        "is encrypted: set client_certificate_password",
    ),
    "wrong password": (lambda: WAYS["encrypted"](good()), "wrong-planted", "is wrong, or"),
    "pfx, no password": (lambda: pfx(good(), PASSWORD), "", "cannot be opened: set client_"),
    "pfx, wrong password": (lambda: pfx(good(), PASSWORD), "wrong-planted", "is wrong, or"),
    "pfx, damaged": (lambda: pfx(good())[:-50], "", "the file is damaged"),
    "pfx, no key": (lambda: pfx(good(), key=False), "", "holds no private key"),
    "der": (lambda: good()[1].public_bytes(serialization.Encoding.DER), "", "certificate alone"),
    "expired": (lambda: dated(-20, -10), "", "expired on 20"),
    "not yet": (lambda: dated(10, 20), "", "is valid from 20"),
}


def pair(key: Any) -> bytes:
    return pem_key(key) + pem(certificate(key)[1])


def dated(begins: float, ends: float) -> bytes:
    key, made = certificate(days=(begins, ends))
    return pem_key(key) + pem(made)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_will_not_do_is_one_sentence_that_names_it(tmp_path: Path, fault: str) -> None:
    make, password, said = FAULTS[fault]
    file = tmp_path / "app.pem"
    file.write_bytes(make())
    with pytest.raises(SettingsError, match=said) as caught:
        read_certificate(file, password, time.time())
    text = str(caught.value)
    assert text.startswith("client_certificate (PRESENCE_CLIENT_CERTIFICATE): ")
    assert str(file) in text
    assert "\n" not in text
    whole = "".join(traceback.format_exception(caught.value))
    assert "planted" not in whole
    assert "During handling" not in whole


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no\.pem cannot be read: No such file"):
        read_certificate(tmp_path / "no.pem", "", time.time())
    with pytest.raises(SettingsError, match="is not a file"):
        read_certificate(tmp_path, "", time.time())


@pytest.mark.parametrize("way", ["key first", "pfx encrypted"])
@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("1.39.0", {"private_key", "public_certificate"}),
        ("1.35.0b1", {"private_key", "public_certificate"}),
        ("2", {"private_key", "public_certificate"}),
        ("1.31.0", None),
    ],
)
def test_sha256_wherever_msal_can(
    tmp_path: Path, way: str, version: str, keys: set[str] | None
) -> None:
    file = tmp_path / "app"
    file.write_bytes(WAYS[way](good()))
    given = read_certificate(file, PASSWORD, time.time()).credential(PASSWORD, version)
    older = (
        {"private_key_pfx_path", "passphrase"} if "pfx" in way else {"private_key", "thumbprint"}
    )
    assert set(given) == (keys or older)
