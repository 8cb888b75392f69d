"""msal against the emulator, which was written without a look at this code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from presence_manager.emulator import DEFAULT_APP, DEFAULT_SECRET, DEFAULT_TENANT, Emulator
from presence_manager.errors import SignInRefused
from presence_manager.graph.tokens import tokens_for
from presence_manager.settings import Settings

from .token_server import certificate, pem, pem_key, rsa_key, threads_gone


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator
    threads_gone()


def settings_of(emulator: Emulator, **more: Any) -> Settings:
    graph = {"base_url": emulator.graph_url, "authority": emulator.authority_url}
    graph["ca_file"] = emulator.ca_file
    return Settings(client_id=DEFAULT_APP, graph=graph, **more)


async def test_secret_then_revoked_then_new(emulator: Emulator) -> None:
    tokens = tokens_for(settings_of(emulator, client_secret=DEFAULT_SECRET))
    old = await tokens.token(DEFAULT_TENANT)
    emulator.revoke()
    new = await tokens.token(DEFAULT_TENANT, refused=old, claims='{"access_token": {}}')
    assert new.secret != old.secret
    await tokens.close()


@pytest.mark.parametrize("pfx", [False, True])
async def test_certificate(emulator: Emulator, tmp_path: Path, pfx: bool) -> None:
    from .test_tokens_certificate import pfx as as_pfx

    key, made = certificate()
    file = tmp_path / "app"
    file.write_bytes(as_pfx((key, made)) if pfx else pem_key(key) + pem(made))
    emulator.add_app(DEFAULT_APP, certificate_pem=pem(made))
    tokens = tokens_for(settings_of(emulator, client_certificate=str(file)))
    assert (await tokens.token(DEFAULT_TENANT)).secret
    await tokens.close()


async def test_certificate_that_is_not_registered(emulator: Emulator, tmp_path: Path) -> None:
    key, made = certificate(rsa_key(1))
    file = tmp_path / "app.pem"
    file.write_bytes(pem_key(key) + pem(made))
    tokens = tokens_for(settings_of(emulator, client_certificate=str(file)))
    with pytest.raises(SignInRefused, match=r"AADSTS700027.*upload its public part"):
        await tokens.token(DEFAULT_TENANT)


async def test_wrong_secret(emulator: Emulator) -> None:
    tokens = tokens_for(settings_of(emulator, client_secret="planted"))
    with pytest.raises(SignInRefused, match="AADSTS7000215") as caught:
        await tokens.token(DEFAULT_TENANT)
    assert caught.value.code == "invalid_client"
    assert "planted" not in str(caught.value)
