"""The same sweep with msal over TLS: by secret, by certificate, with a token revoked in mid-run."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from presence_manager import HoldRefused, Kind, PresenceManager, Progress, Settings
from presence_manager.emulator import Emulator
from presence_manager.engine import request
from presence_manager.graph.tokens import MsalTokens

from .truth import APP, TENANT, contradictions, user

USERS = [user(n) for n in range(2000)]
SECRET = "the-secret-that-must-not-leak"


def settings(emulator: Emulator, **credential: object) -> Settings:
    return Settings(
        tenant_id=TENANT,
        client_id=APP,
        graph={
            "base_url": emulator.graph_url,
            "authority": emulator.authority_url,
            "ca_file": emulator.ca_file,
            "budget": 100_000,
        },
        ledger={"url": "memory://"},
        **credential,  # type: ignore[arg-type]
    )


async def swept(emulator: Emulator, how: Settings, revoke: bool = False) -> None:
    for number, name in enumerate(USERS):
        if number % 50:
            emulator.put_session(TENANT, APP, name)
    revoked = False

    def progress(what: Progress) -> None:
        nonlocal revoked
        if revoke and not revoked and what.done > 200:
            emulator.revoke(None)
            revoked = True

    async with PresenceManager(how) as presence:
        report = await presence.sweep(users=USERS, progress=progress)
        outcomes = [o async for o in presence.outcomes(sweep_id=report.sweep_id)]
    assert report.counts == {Kind.CLEARED: 1960, Kind.ALREADY_GONE: 40}
    assert contradictions(emulator, outcomes, USERS) == []
    assert revoked is revoke


@pytest.mark.parametrize("revoke", [False, True], ids=["kept", "revoked in mid-run"])
async def test_by_client_secret(revoke: bool) -> None:
    async with Emulator(tls=True, limit=1_000_000, latency=0.02, apps={APP: SECRET}) as emulator:
        await swept(emulator, settings(emulator, client_secret=SECRET), revoke)
        assert emulator.token_requests <= (2 if revoke else 1) * 2  # discovery and token for each


async def test_a_secret_in_a_file_heals_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "SIGN_IN_PAUSE", 0.0)
    file, ticks = tmp_path / "secret", [0.0]
    file.write_text("the-secret-of-yesterday")
    async with Emulator(tls=True, apps={APP: SECRET}) as emulator:
        how = settings(emulator, client_secret_file=file)
        tokens = MsalTokens(how, ticks=lambda: ticks[0])
        async with PresenceManager(how, tokens=tokens) as presence:
            with pytest.raises(HoldRefused, match="AADSTS7000215"):
                await presence.hold(USERS[0], "Busy")
            file.write_text(f"{SECRET}\n")
            ticks[0] += 5  # for as long tokens repeat a refusal; so do lanes
            hold = await presence.hold(USERS[0], "Busy")
            assert hold.state == "shown"
        assert presence.last_report is not None
        assert presence.last_report.ok


async def test_by_certificate(tmp_path: Path) -> None:
    key, certificate = await asyncio.to_thread(_certificate)
    file = tmp_path / "app.pem"
    file.write_bytes(key + certificate)
    async with Emulator(tls=True, limit=1_000_000, apps={}) as emulator:
        emulator.add_app(APP, certificate_pem=certificate.decode())
        await swept(emulator, settings(emulator, client_certificate=file))


def _certificate() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
