"""The page and the daemon's state: tokens, draining, not ready, gone; and who does not look."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browsing import Served, daemon, looking
from host_runs import until, user
from playwright.async_api import Browser, expect

from presence_manager.emulator import Emulator, Fault

pytestmark = pytest.mark.asyncio(loop_scope="session")

READ, WRITE = "r" * 40, "w" * 40


async def test_it_asks_for_a_token_and_keeps_it_in_the_tab(
    browser: Browser, emulator: Emulator, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"eyes:read:{READ}\nhands:write:{WRITE}\n")
    more = {"PRESENCE_HTTP__TOKENS_FILE": str(tokens)}
    async with daemon(emulator, tmp_path, more, WRITE) as served:
        await served.hold(1)
        async with looking(browser, served.url, allowed=r"40[13] \((Un|Forb)") as page:
            dialog = page.get_by_role("dialog", name="This daemon asks for a token")
            field, use = dialog.get_by_label("Token"), dialog.get_by_role("button")
            await expect(dialog).to_be_visible()
            await expect(page.locator("tbody tr:not(.space)")).to_have_count(0)
            await dialog.press("Escape")  # there is nothing to see without one
            await expect(dialog).to_be_visible()
            await field.fill("x" * 40)
            await use.click()
            await expect(dialog.get_by_role("alert")).to_have_text(
                "This daemon does not know that token."
            )
            async with page.expect_response("**/v1/status"):
                pass  # the next round does not take the words away
            await expect(dialog.get_by_role("alert")).not_to_be_empty()
            await field.fill(READ)
            await use.click()
            await expect(dialog).to_be_hidden()
            clear = page.get_by_role("button", name=f"Clear user {user(1)}")
            await clear.click()
            confirm = page.get_by_role("dialog", name="Clear this user?")
            await confirm.get_by_role("button", name="Clear the user").click()
            await expect(confirm.get_by_role("alert")).to_contain_text("is for reading only")
            await confirm.press("Escape")
            assert emulator.sessions()
            await page.reload()
            await expect(clear).to_be_visible()
            assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
            await page.get_by_role("button", name="Forget the token").click()
            await expect(dialog).to_be_visible()
            await field.fill(WRITE)
            await use.click()
            await clear.click()
            await confirm.get_by_role("button", name="Clear the user").click()
            await until(lambda: not emulator.sessions())
            assert WRITE not in await page.content()


async def test_it_says_when_the_daemon_drains_and_when_it_is_gone(
    browser: Browser, served: Served
) -> None:
    await served.hold(1)
    async with looking(browser, served.url, allowed="Failed to load resource") as page:
        await expect(page.locator("#total")).to_have_text("1")
        await served.ask("POST", "/v1/drain")
        await expect(page.locator("#state")).to_have_text("Draining: takes no more holds")
        await expect(page.locator("#total")).to_have_text("0")
        served.child.process.kill()
        await served.child.process.wait()
        await expect(page.locator("#state")).to_have_text("Does not answer")
        await expect(page.get_by_role("alert").first).to_contain_text("cannot be reached")
        await expect(page.locator("main")).to_have_class("stale")


async def test_it_says_why_the_daemon_is_not_ready(
    browser: Browser, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.add_fault(Fault(verb="token", status=400, code="invalid_client"))
    more = {
        "PRESENCE_ACCESS_TOKEN": "",
        "PRESENCE_CLIENT_SECRET": "wr0ng",
        "PRESENCE_GRAPH__AUTHORITY": emulator.authority_url,
        "PRESENCE_GRAPH__CA_FILE": emulator.ca_file,
    }
    async with (
        daemon(emulator, tmp_path, more) as served,
        looking(browser, served.url) as page,
    ):
        await expect(page.locator("#state")).to_have_text("Not ready: the sign-in failed")
        await expect(page.locator("#state")).to_have_attribute("data-state", "unwell")
        await expect(page.get_by_role("alert").first).to_be_hidden()


async def test_it_asks_every_two_seconds_and_not_at_all_while_nobody_looks(
    browser: Browser, served: Served
) -> None:
    async with looking(browser, served.url, clock=True) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.removeprefix(served.url)))
        await expect(page.locator("#fresh")).to_have_text(re.compile("as of"))
        for _ in range(3):
            asked.clear()
            async with page.expect_response("**/v1/sweeps"):
                await page.clock.run_for(2_000)
            await expect(page.locator("#fresh")).to_have_text(re.compile("as of"))
            assert asked.count("/v1/status") == 1
            assert len(asked) <= 6, asked

        hide = """(hidden) => {
            Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange")); }"""
        await page.evaluate(hide, True)
        await page.clock.run_for(2_000)  # what had begun
        await page.wait_for_load_state("networkidle")
        asked.clear()
        await page.clock.run_for(600_000)
        assert asked == []
        async with page.expect_response("**/v1/sweeps"):
            await page.evaluate(hide, False)
