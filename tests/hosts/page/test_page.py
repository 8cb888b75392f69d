"""The page as an operator sees it: holds as they come, searches, clears, sweeps."""

from __future__ import annotations

import re

import pytest
from browsing import Served, looking
from host_runs import TENANT, until, user
from playwright.async_api import Browser, expect

from presence_manager.emulator import Emulator, Fault

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROWS = "#session-table tbody tr:not(.space)"


async def test_it_shows_holds_as_they_come_and_go(browser: Browser, served: Served) -> None:
    async with looking(browser, served.url) as page:
        await expect(page.get_by_text("Nobody is held.")).to_be_visible()
        await expect(page.get_by_text("No tenant yet.")).to_be_visible()
        await expect(page.get_by_text("No sweep yet.")).to_be_visible()
        await expect(page.get_by_text("Nothing was cleared in this time.")).to_be_visible()
        await expect(page.locator("#state")).to_have_text("Takes holds")
        await served.hold(1, "call-17")
        row = page.get_by_role("row", name=user(1))
        await expect(row).to_contain_text("InACall")
        await expect(row).to_contain_text("shown")
        await expect(row).to_contain_text("call-17")
        await expect(page.locator("#total")).to_have_text("1")
        await expect(page.locator("#place")).to_have_text(re.compile("^1.1 of 1$"))
        tenant = page.get_by_role("button", name=f"Show the sessions of tenant {TENANT}")
        await expect(tenant).to_be_visible()
        await served.ask("DELETE", f"/v1/tenants/default/users/{user(1)}/holds/call-17")
        await expect(row).to_have_count(0)
        await expect(page.get_by_text("Nobody is held.")).to_be_visible()
    async with looking(browser, served.url) as page:
        await expect(page.locator("#legend")).to_contain_text("cleared1")
        await expect(page.locator("#chart rect")).to_have_count(1)
        await expect(page.locator("#chart")).to_have_attribute(
            "aria-label", re.compile("6 h: 1 cleared")
        )
        await page.get_by_role("radio", name="24 h").check()
        await expect(page.locator("#chart")).to_have_attribute(
            "aria-label", re.compile("24 h: 1 cleared")
        )


async def test_it_finds_users_and_holds(
    browser: Browser, served: Served, emulator: Emulator
) -> None:
    emulator.add_fault(Fault(verb="set", user=user(4), effect="hang"))
    for number in (1, 2, 3):
        await served.hold(number, f"call-{number}")
    await served.hold(4, "meeting", "?wait=0")
    async with looking(browser, served.url) as page:
        await expect(page.locator(ROWS)).to_have_count(4)
        search = page.get_by_role("searchbox", name="Search users and holds")
        await search.fill("call-2")
        await expect(page.locator(ROWS)).to_have_count(1)
        await expect(page.get_by_role("row", name=user(2))).to_be_visible()
        await expect(page.locator("#told")).to_have_text("1 sessions found")
        await search.fill(user(3).upper())
        await expect(page.get_by_role("row", name=user(3))).to_be_visible()
        await expect(page.locator(ROWS)).to_have_count(1)
        await search.fill("nobody's")
        await expect(page.get_by_text("No session is found for “nobody's”.")).to_be_visible()
        await search.fill("")
        await expect(page.locator(ROWS)).to_have_count(4)
        await page.locator("#states").get_by_role("button", name="pending").click()
        await expect(page.locator(ROWS)).to_have_count(1)
        await expect(page.get_by_role("row", name=user(4))).to_contain_text("meeting")
        await page.get_by_role("button", name="Only pending: show all again").click()
        await expect(page.locator(ROWS)).to_have_count(4)
        await page.get_by_role("button", name=f"Show the sessions of tenant {TENANT}").click()
        await expect(
            page.get_by_role("button", name=f"Tenant {TENANT}: show all again")
        ).to_be_visible()
        await expect(page.locator(ROWS)).to_have_count(4)


async def test_it_clears_a_user_when_that_is_confirmed(
    browser: Browser, served: Served, emulator: Emulator
) -> None:
    await served.hold(1, "call-17")
    await served.hold(2)
    async with looking(browser, served.url) as page:
        dialog = page.get_by_role("dialog", name="Clear this user?")
        clear = page.get_by_role("button", name=f"Clear user {user(1)}")
        await clear.click()
        await expect(dialog).to_contain_text(user(1))
        await expect(dialog).to_contain_text("call-17")
        await dialog.get_by_role("button", name="Keep").click()
        await expect(dialog).to_be_hidden()
        assert len(emulator.sessions()) == 2
        await clear.click()
        await dialog.get_by_role("button", name="Clear the user").click()
        await expect(dialog).to_be_hidden()
        await until(lambda: [each.user for each in emulator.sessions()] == [user(2)])
        await expect(clear).to_have_count(0)
        await expect(page.locator("#told")).to_have_text(f"User {user(1)}: cleared")

        emulator.add_fault(Fault(verb="clear", user=user(2), status=403, code="Forbidden"))
        await page.get_by_role("button", name=f"Clear user {user(2)}").click()
        await dialog.get_by_role("button", name="Clear the user").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("failed: Forbidden")
        await dialog.press("Escape")

        # Whoever is not in the ledger can be cleared too: that is what it is for.
        await page.get_by_role("searchbox").fill(user(99))
        await page.get_by_role("button", name="Clear this user all the same").click()
        await dialog.get_by_role("button", name="Clear the user").click()
        await expect(page.locator("#told")).to_have_text(f"User {user(99)}: already gone")


async def test_it_begins_a_sweep_and_shows_it_as_it_runs(
    browser: Browser, served: Served, emulator: Emulator
) -> None:
    for number in range(1, 42):
        await served.hold(number, query="?wait=0")
    await until(lambda: len(emulator.sessions()) == 41)
    emulator.add_fault(Fault(verb="clear", user=user(41), effect="hang"))
    emulator.add_fault(Fault(verb="clear", user=user(40), status=403, code="Forbidden"))
    async with looking(browser, served.url) as page:
        await expect(page.locator("#total")).to_have_text("41")
        await page.get_by_role("button", name="Sweep …").click()
        dialog = page.get_by_role("dialog", name="Sweep: clear many users")
        await expect(dialog.locator("#own-count")).to_have_text("(41)")
        await dialog.get_by_role("radio", name="Everyone").check()
        await expect(dialog).to_contain_text("All their holds end, in every process.")
        await dialog.get_by_label("Deadline, in seconds").fill("2")
        await dialog.get_by_role("button", name="Clear 41 users").click()
        await expect(dialog).to_be_hidden()
        sweep = page.get_by_role("article")
        await expect(sweep).to_contain_text("Running")
        await expect(sweep).to_contain_text("deadline in")
        await expect(sweep).to_contain_text("a second")
        bar = sweep.get_by_role("progressbar")
        await expect(bar).to_have_attribute("aria-valuetext", re.compile(r"^[1-9]\d? of 41$"))
        await expect(sweep).to_contain_text(re.compile(r"\d left"))
        await expect(sweep).to_contain_text("Not all are gone")
        await expect(sweep).to_contain_text("1 unfinished, 1 failed")
        await expect(sweep).to_contain_text("failed, Forbidden")
        told = re.compile("^The sweep has ended: .* cleared, .*1 unfinished, 1 failed$")
        await expect(page.locator("#told")).to_have_text(told)


async def test_what_others_name_is_text(
    browser: Browser, served: Served, emulator: Emulator
) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    await served.hold(1, evil.replace("/", "%2F").replace(" ", "%20"))
    await served.hold(2)
    emulator.add_fault(Fault(verb="clear", user=user(2), status=403, code=f"</p>{evil}"))
    async with looking(browser, served.url) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        row = page.get_by_role("row", name=user(1))
        await expect(row).to_contain_text(evil)
        await row.get_by_role("button").click()
        dialog = page.get_by_role("dialog", name="Clear this user?")
        await expect(dialog).to_contain_text(evil)
        await dialog.press("Escape")
        await served.ask("POST", "/v1/sweeps", {"users": [user(2)]})
        await expect(page.get_by_role("article")).to_contain_text(f"</p>{evil}"[:60])
        await page.get_by_role("searchbox").fill(evil + "?")
        await expect(page.locator("#sessions-none")).to_contain_text(evil)
        assert await page.locator("script").count() == 1
        assert await page.locator("img").count() == 0

    # And what is not text is refused by the browser itself.
    async with looking(browser, served.url, allowed="Content Security Policy|TrustedHTML") as page:
        tried = """() => { try { document.body.innerHTML = "<p>in"; return "done"; }
                           catch (error) { return error.name; } }"""
        assert await page.evaluate(tried) == "TypeError"
        tried = """() => { const style = document.createElement("style");
                           style.textContent = "body { display: none }";
                           document.head.append(style);
                           return getComputedStyle(document.body).display; }"""
        assert await page.evaluate(tried) != "none"
        tried = """() => fetch("http://127.0.0.1:9/").then(() => "done", () => "refused")"""
        assert await page.evaluate(tried) == "refused"
