"""A user signs in by device code; the sign-in is kept in a file, renewed and forgotten."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from presence_manager.errors import SettingsError, SignInRefused, SignInUnavailable
from presence_manager.graph import tokens_delegated
from presence_manager.graph.tokens import DelegatedTokens, tokens_for
from presence_manager.graph.tokens_delegated import Account, Code
from presence_manager.graph.tokens_memory import default_retry
from presence_manager.settings import Settings

from .token_server import (
    APP,
    DEVICE_CODE,
    OTHER,
    TENANT,
    Reply,
    TokenServer,
    refused,
    settings_for,
    shown,
    threads_gone,
    user_reply,
)

ANNA, BERT = "5e000000-0000-4000-8000-000000000001", "5e000000-0000-4000-8000-000000000002"
PENDING = refused(70016, "authorization_pending", "Not yet")
SLOWER = refused(70016, "slow_down", "Slower")


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sign-in is kept; and no pause between two questions."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(tokens_delegated, "_LEAST_PAUSE", 0.01)
    monkeypatch.setattr(tokens_delegated, "_LONGEST_PAUSE", 0.02)
    return tmp_path / "presence-manager" / "sign-in.json"


def delegated(server: TokenServer, how: str = "file", **more: Any) -> DelegatedTokens:
    given = {"delegated": how, "tenant_id": TENANT, "sign_in_timeout": 30} | more
    retry = default_retry().copy(wait=wait_none())
    return DelegatedTokens(settings_for(server, **given), retry=retry)


async def signed_in(tokens: DelegatedTokens) -> tuple[Account, list[Code]]:
    codes: list[Code] = []
    async with asyncio.timeout(30):
        return await tokens.login(codes.append), codes


# The test does not wait for as long as it is told.
@pytest.mark.filterwarnings("ignore:Attempted too soon")
async def test_the_code_is_shown_and_asked_about_until_it_is_used(
    kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with TokenServer() as server:
        tokens = delegated(server)
        faults = [Reply(503, b""), Reply(None)]
        server.script += [PENDING, SLOWER, *faults, user_reply(ANNA, "anna@contoso.com")]
        account, codes = await signed_in(tokens)
        assert account == Account("anna@contoso.com", ANNA)
        assert codes == [Code("https://microsoft.com/devicelogin", "ABC-DEF", 900)]
        (asked,) = server.codes
        assert asked["client_id"] == APP
        assert "https://graph.example/Presence.ReadWrite" in asked["scope"].split()
        assert {form["device_code"] for form in server.forms} == {DEVICE_CODE["device_code"]}
        assert not any("client_secret" in form for form in server.forms)
        # Another process finds the sign-in.
        other = delegated(server)
        assert (await other.token(TENANT)).secret == "planted-access-1"
        assert len(server.forms) == 5
        await other.close()
        await tokens.close()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "planted" not in caplog.text + repr(account) + repr(codes) + repr(tokens)
    threads_gone()


async def test_a_refused_token_is_renewed_by_the_refresh_token(kept: Path) -> None:
    with TokenServer() as server:
        tokens = delegated(server)
        server.script += [user_reply(ANNA, "anna")]
        await signed_in(tokens)
        old = await tokens.token(TENANT)
        server.script += [user_reply(ANNA, "anna", "planted-access-2")]
        new = await tokens.token(TENANT, refused=old)
        assert new.secret == "planted-access-2"
        assert server.forms[-1]["grant_type"] == "refresh_token"
        assert server.forms[-1]["refresh_token"] == f"planted-refresh-of-{ANNA}"
        server.script += [refused(700082, "invalid_grant", f"Expired planted-refresh-of-{ANNA}")]
        with pytest.raises(SignInRefused, match=r"700082.*`presence-manager login`") as caught:
            await tokens.token(TENANT, refused=new)
        assert caught.value.code == "invalid_grant"
        await tokens.close()


async def test_who_signs_in_next_takes_the_place_and_logout_forgets(kept: Path) -> None:
    with TokenServer() as server:
        tokens = delegated(server)
        for name in (ANNA, BERT):
            server.script += [user_reply(name, name)]
            assert (await signed_in(tokens))[0].user == name
        text = kept.read_text()
        assert BERT in text
        assert ANNA not in text
        assert await tokens.logout() == 1
        assert await tokens.logout() == 0
        assert "planted" not in kept.read_text()
        with pytest.raises(SignInRefused, match="nobody is signed in; sign in with") as caught:
            await tokens.token(TENANT)
        assert caught.value.code == "no_account"
        await tokens.close()


async def test_it_signs_in_to_its_own_tenant_only(kept: Path) -> None:
    with TokenServer() as server:
        tokens = delegated(server)
        server.script += [user_reply(ANNA, "anna")]
        await signed_in(tokens)
        server.script += [refused(50020, "invalid_grant", "User account does not exist in tenant")]
        with pytest.raises(SignInRefused, match=f"{OTHER} was refused: .*50020"):
            await tokens.token(OTHER)
        await tokens.close()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refused(70000, "authorization_declined", "The user said no"), "said no"),
        (refused(70020, "expired_token", "The code has expired"), "code has expired"),
        (refused(7000218, "invalid_client", "client_secret needed"), "Allow public client flows"),
    ],
)
async def test_a_login_that_is_refused_ends(reply: Reply, said: str) -> None:
    with TokenServer() as server:
        tokens = delegated(server)
        server.script += [PENDING, reply]
        with pytest.raises(SignInRefused, match=said) as caught:
            await signed_in(tokens)
        await tokens.close()
    assert "planted" not in shown(caught.value)


async def test_a_login_needs_the_platform_to_answer() -> None:
    with TokenServer() as server:
        server.discovery = Reply(503, b"")
        tokens = delegated(server)
        with pytest.raises(SignInUnavailable, match="HTTP 503"):
            await signed_in(tokens)
        await tokens.close()


async def test_a_code_that_is_not_used_in_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICE_CODE, "expires_in", 0)
    with TokenServer() as server:
        tokens = delegated(server)
        with pytest.raises(SignInRefused, match="not used in time"):
            await signed_in(tokens)
        await tokens.close()


@pytest.mark.parametrize("name", ["interval", "expires_in", "user_code", "device_code"])
async def test_an_answer_that_is_no_code_ends_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEVICE_CODE, name, {"planted": 1})
    with TokenServer() as server:
        tokens = delegated(server)
        with pytest.raises(SignInRefused, match=r"no device code|unexpected TypeError") as caught:
            await signed_in(tokens)
        await tokens.close()
    assert server.forms == []
    assert "planted" not in shown(caught.value)


async def test_hostile_words_cannot_move_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICE_CODE, "user_code", "A\x1b[2J\r\nB" + "x" * 500)
    with TokenServer() as server:
        tokens = delegated(server)
        server.script += [user_reply(ANNA, "anna\x1b[31m")]
        account, (code,) = await signed_in(tokens)
        await tokens.close()
    assert account.name == "anna[31m"
    assert code.code.startswith("A[2JBxxx")
    assert len(code.code) < 210


async def test_a_file_that_others_could_read_is_closed_to_them(kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("")
    kept.chmod(0o644)
    with TokenServer() as server:
        tokens = delegated(server)
        server.script += [user_reply(ANNA, "anna")]
        await signed_in(tokens)
        await tokens.close()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["RefreshToken"]


async def test_without_a_keyring_nothing_is_kept_in_clear(kept: Path) -> None:
    try:
        import gi  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("this machine may have a keyring")
    with TokenServer() as server:
        tokens = delegated(server, "keyring")
        for call in (tokens.login(print), tokens.token(TENANT)):
            with pytest.raises(SignInRefused, match=r"PRESENCE_DELEGATED.*not encrypted") as caught:
                await call
            assert "presence-manager login" not in str(caught.value)
        await tokens.close()
    assert server.codes == []
    assert not kept.exists()


async def test_a_broken_file_says_so(kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("planted, not json")
    with TokenServer() as server:
        tokens = delegated(server)
        with pytest.raises(SignInRefused, match=f"remove {kept}, and sign in again") as caught:
            await tokens.token(TENANT)
        await tokens.close()
    assert "planted" not in shown(caught.value)


def test_what_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="PRESENCE_CLIENT_ID"):
        tokens_for(Settings(delegated="file"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"presence-manager\[delegated\]"):
        tokens_for(Settings(client_id=APP, delegated="file"))


async def test_a_login_needs_a_tenant() -> None:
    with TokenServer() as server:
        tokens = delegated(server, tenant_id=None)
        with pytest.raises(SettingsError, match="PRESENCE_TENANT_ID"):
            await tokens.login(print)
