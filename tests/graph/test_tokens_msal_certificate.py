"""msal with a certificate: what is signed, and what a changed file does."""

from __future__ import annotations

import base64
from importlib.metadata import version
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import hashes

from presence_manager.errors import SignInRefused

from .test_tokens_certificate import PASSWORD
from .test_tokens_certificate import pfx as as_pfx
from .token_server import APP, TENANT, TokenServer, certificate, pem, pem_key, rsa_key, tokens_at

SHA256 = tuple(map(int, version("msal").split(".")[:2])) >= (1, 35)


@pytest.mark.parametrize(
    "pfx",
    [
        pytest.param(
            False, marks=pytest.mark.skipif(not SHA256, reason="msal cannot from a PEM yet")
        ),
        True,
    ],
)
async def test_a_certificate_signs_ps256_with_its_sha256(tmp_path: Path, pfx: bool) -> None:
    key, made = certificate()
    file = tmp_path / "app"
    file.write_bytes(as_pfx((key, made), PASSWORD) if pfx else pem_key(key, PASSWORD) + pem(made))
    with TokenServer() as server:
        tokens = tokens_at(
            server,
            client_secret=None,
            client_certificate=str(file),
            client_certificate_password=PASSWORD,
        )
        await tokens.token(TENANT)
        await tokens.close()
    (form,) = server.forms
    assert "client_secret" not in form
    assertion = form["client_assertion"]
    audience = f"{server.url}/{TENANT}/oauth2/v2.0/token"
    claims = jwt.decode(
        assertion, key.public_key(), algorithms=["PS256", "RS256"], audience=audience
    )
    assert claims["iss"] == claims["sub"] == APP
    thumbprint = base64.urlsafe_b64encode(made.fingerprint(hashes.SHA256())).decode()
    assert jwt.get_unverified_header(assertion)["x5t#S256"].rstrip("=") == thumbprint.rstrip("=")
    assert PASSWORD not in repr(tokens)


async def test_a_renewed_certificate_file_is_read_and_a_broken_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "app.pem"
    keys = [certificate(), certificate(rsa_key(1))]
    file.write_bytes(pem_key(keys[0][0]) + pem(keys[0][1]))
    with TokenServer() as server:
        tokens = tokens_at(server, client_secret=None, client_certificate=str(file))
        old = await tokens.token(TENANT)
        file.write_bytes(pem_key(keys[1][0]) + pem(keys[1][1]))
        new = await tokens.token(TENANT, refused=old)
        file.write_bytes(b"")
        with pytest.raises(SignInRefused, match=r"app\.pem is empty"):
            await tokens.token(TENANT, refused=new)
        await tokens.close()
    audience = f"{server.url}/{TENANT}/oauth2/v2.0/token"
    for form, (key, _) in zip(server.forms, keys, strict=True):
        jwt.decode(
            form["client_assertion"], key.public_key(), ["PS256", "RS256"], audience=audience
        )
