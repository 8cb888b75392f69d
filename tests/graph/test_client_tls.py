"""Real TLS, with a certificate authority of our own."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from presence_manager.errors import SettingsError

from .server import Connection, Seen, Server, close, reset
from .stage import LATER, LOST, D, Stage


class Authority(NamedTuple):
    """A certificate authority, its PEM file, and a folder for what it signs."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    file: Path

    def context(self, host: str, days: int = 1) -> ssl.SSLContext:
        """Return a server's context with a certificate for the host."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        certificate = (
            _draft(self.name, key, days, "server")
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(_signed_by(self.key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        file = self.file.with_name(f"server{days}{host}.pem")
        file.write_bytes(_pem(certificate) + _key_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _draft(
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    name: str,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
    )


# Python 3.13 checks strictly: whoever signs must say that it may, and be named by key.
_MAY_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _signed_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def authority(folder: Path, name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _draft(subject, key, 1, name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_MAY_SIGN, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_signed_by(key), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(_pem(certificate))
    return Authority(key, subject, file)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"), "theirs")


async def test_a_certificate_of_the_authority_is_trusted(ours: Authority) -> None:
    async with (
        Server(tls=ours.context("127.0.0.1")) as server,
        Stage(server.url, ca_file=ours.file) as stage,
    ):
        assert (await stage.one()).judgement is D
        assert [v.judgement for v in await stage.send(20)] == [D] * 20
        assert server.connections == 1


@pytest.mark.parametrize(
    ("host", "days", "trusted", "why"),
    [
        ("127.0.0.1", 1, "theirs", "unable to get local issuer certificate"),
        ("127.0.0.1", 1, "", "unable to get local issuer certificate"),
        ("127.0.0.1", -1, "ours", "certificate has expired"),
        ("127.0.0.2", 1, "ours", "IP address mismatch"),
    ],
)
async def test_any_other_certificate_is_not(
    ours: Authority, theirs: Authority, host: str, days: int, trusted: str, why: str
) -> None:
    file = {"ours": ours.file, "theirs": theirs.file, "": None}[trusted]
    async with (
        Server(tls=ours.context(host, days)) as server,
        Stage(server.url, ca_file=file) as stage,
    ):
        verdicts = await stage.send(2)
        assert stage.client.requests == 0
    assert {(v.judgement, v.code) for v in verdicts} == {(LATER, "tlsFailed")}
    assert why in verdicts[0].message
    assert "graph.ca_file" in verdicts[0].message
    assert not server.seen


async def test_a_server_that_speaks_no_tls() -> None:
    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(chat, "127.0.0.1", 0)
    async with server, Stage(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as stage:
        verdict = await stage.one()
    assert (verdict.judgement, verdict.code) == (LATER, "tlsFailed")


async def test_a_handshake_that_is_reset() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, Stage(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as stage:
        verdict = await stage.one()
        assert stage.client.requests == 0
    assert verdict.judgement is LATER


@pytest.mark.parametrize("script", [reset, close])
async def test_what_breaks_after_the_handshake_is_lost(ours: Authority, script: object) -> None:
    async with (
        Server(script, tls=ours.context("127.0.0.1")) as server,  # type: ignore[arg-type]
        Stage(server.url, ca_file=ours.file) as stage,
    ):
        assert (await stage.one()).judgement is LOST
        assert len(server.seen) == 1


async def test_through_a_proxy(ours: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server(tls=ours.context("graph.example")) as graph:

        async def tunnel(seen: Seen, connection: Connection) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", graph.port)
            await connection.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            try:
                await asyncio.gather(
                    _pump(connection.reader, writer), _pump(reader, connection.writer)
                )
            finally:
                writer.close()

        async with Server(tunnel) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            async with Stage("https://graph.example", ca_file=ours.file) as stage:
                assert (await stage.one()).judgement is D
                assert (await stage.one()).judgement is D
        assert len(graph.seen) == 2
        assert graph.connections == len(proxy.seen) == 1
        assert graph.seen[0].header("Authorization") == "Bearer t1"
        assert graph.seen[0].path.startswith("/v1.0/users/")
        assert proxy.seen[0].header("Authorization") is None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\x30\x82\x01\x01", "a folder"])
def test_a_ca_file_that_cannot_be_used(tmp_path: Path, content: bytes | str | None) -> None:
    file = tmp_path / "ca.pem"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    with pytest.raises(SettingsError, match=r"graph\.ca_file") as caught:
        Stage("https://graph.example", ca_file=file)
    assert str(file) in str(caught.value)
    assert caught.value.__cause__ is None
