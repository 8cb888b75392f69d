"""Secrets and workload tokens in files that change while the process runs; tenants of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from presence_manager.errors import SettingsError, SignInRefused
from presence_manager.graph.tokens import tokens_for
from presence_manager.settings import Settings

from .token_server import (
    APP,
    OTHER,
    SECRET,
    TENANT,
    Clock,
    Reply,
    TokenServer,
    jwt_of,
    refused,
    settings_for,
    shown,
    tokens_at,
)

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def only(field: str, accepted: Callable[[], str]) -> Callable[[dict[str, str]], Reply | None]:
    """A platform that takes one secret, and quotes a wrong one."""

    def judge(form: dict[str, str]) -> Reply | None:
        if form.get(field) == accepted():
            return None
        return refused(7000215, "invalid_client", f"Invalid client secret {form.get(field)}")

    return judge


async def test_a_rotated_secret_is_used_for_the_next_token(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("planted-1\n")
    with TokenServer() as server:
        server.judge = only("client_secret", lambda: file.read_text().strip())
        tokens = tokens_at(server, client_secret_file=str(file))
        old = await tokens.token(TENANT)
        file.write_text("planted-2")
        new = await tokens.token(TENANT, refused=old)
        await tokens.close()
    assert [form["client_secret"] for form in server.forms] == ["planted-1", "planted-2"]
    assert new.secret == "token-2"


async def test_a_refused_secret_heals_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file, clock = tmp_path / "secret", Clock()
    file.write_text("planted-old")
    with TokenServer() as server:
        server.judge = only("client_secret", lambda: "planted-new")
        tokens = tokens_at(server, clock, client_secret_file=str(file))
        with pytest.raises(SignInRefused, match=r"7000215.*PRESENCE_CLIENT_SECRET_FILE") as caught:
            await tokens.token(TENANT)
        file.write_text("planted-new")
        clock.time += 5
        assert (await tokens.token(TENANT)).secret == "token-2"
        await tokens.close()
    text = shown(caught.value) + caplog.text + repr(tokens) + repr(vars(tokens))
    assert "planted" not in text


async def test_a_file_that_is_being_written_is_read_once_more(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)

    def replaced() -> None:
        file.write_text("")

    with TokenServer() as server:
        server.script.append(Reply(500, b"", before=replaced))
        tokens = tokens_at(server, client_secret_file=str(file))
        with pytest.raises(SignInRefused, match=r"secret is empty") as caught:
            await tokens.token(TENANT)
        assert len(server.forms) == 1
        await tokens.close()
    assert "planted" not in shown(caught.value)


@pytest.mark.parametrize("name", ["client_secret_file", "federated_token_file"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b" \n", "is empty"),
        (b"planted one\nplanted two", r"has to hold the secret alone.*\(not shown\)"),
        (b"planted\xff", "has to hold the secret alone"),
        (b"planted" * 200_000, "too large"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_at_once(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"^{name} .PRESENCE_{name.upper()}.: .*{said}") as no:
        tokens_for(Settings(client_id=APP, **{name: str(file)}))
    assert "planted" not in shown(no.value)


async def test_a_workloads_token_is_read_anew_and_sent_as_assertion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "token"
    given = [jwt_of(sub="system:serviceaccount:default:bot", jti=number) for number in (1, 2)]
    file.write_text(given[0])
    with TokenServer() as server:
        server.judge = only("client_assertion", lambda: file.read_text().strip())
        monkeypatch.setenv("AZURE_CLIENT_ID", APP)
        monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"{server.url}/")
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
        tokens = tokens_for(Settings(graph={"ca_file": str(server.ca_file)}))
        old = await tokens.token(TENANT)
        file.write_text(given[1] + "\n")
        await tokens.token(TENANT, refused=old)
        assert [form["client_assertion"] for form in server.forms] == given
        for form in server.forms:
            assert form["client_assertion_type"] == ASSERTION
            assert form["client_id"] == APP
            assert "client_secret" not in form
        server.judge = lambda form: refused(700213, "invalid_client", form["client_assertion"])
        new = await tokens.token(TENANT)
        with pytest.raises(SignInRefused, match="no federated credential of the app") as caught:
            await tokens.token(TENANT, refused=new)
        await tokens.close()
    text = shown(caught.value) + caplog.text + repr(tokens) + repr(vars(tokens))
    assert not [each for each in (*given, "planted") if each in text]


def sections(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "other").write_text("planted-other")
    return {OTHER.upper(): {"client_secret_file": str(tmp_path / "other")}}


async def test_a_tenant_may_have_a_credential_of_its_own(tmp_path: Path) -> None:
    with TokenServer() as server:
        tokens = tokens_at(server, tenants=sections(tmp_path))
        await tokens.token(TENANT)
        await tokens.token(OTHER)
        await tokens.close()
    assert [form["client_secret"] for form in server.forms] == [SECRET, "planted-other"]
    assert {form["client_id"] for form in server.forms} == {APP}
    assert "1 tenants with their own" in repr(tokens)
    assert "planted" not in repr(tokens) + repr(vars(tokens)).replace(str(tmp_path), "")


async def test_a_tenant_without_any_credential_is_refused(tmp_path: Path) -> None:
    with TokenServer() as server:
        settings = settings_for(server, client_secret=None, tenants=sections(tmp_path))
        tokens = tokens_for(settings)
        assert (await tokens.token(OTHER)).secret == "token-1"
        with pytest.raises(SignInRefused, match=f"{TENANT} was refused: there is nothing to sign"):
            await tokens.token(TENANT)
        await tokens.close()


def test_a_tenants_file_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    given = {OTHER: {"client_certificate": str(tmp_path / "missing.pem")}}
    with pytest.raises(SettingsError, match=r"missing\.pem cannot be read"):
        tokens_for(Settings(client_id=APP, tenants=given))
