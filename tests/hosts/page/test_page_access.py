"""The page for those who use no mouse, see little, or hear it; light and dark."""

from __future__ import annotations

import re

import pytest
from browsing import Served, looking
from host_runs import TENANT, until, user
from playwright.async_api import Browser, Page, expect

from presence_manager.emulator import Emulator, Fault

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Every text that is seen whose contrast with what is behind it is too low (WCAG 2, AA).
CONTRASTS = """() => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
  const over = (colors) => {
    context.clearRect(0, 0, 1, 1);
    for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, n) => sum + each * [0.2126, 0.7152, 0.0722][n], 0);
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const aside = element.closest(".unseen, .skip, noscript");
    if (!own || aside || !element.checkVisibility()) continue;
    const behind = [];
    for (let at = element; at; at = at.parentElement) {
      behind.unshift(getComputedStyle(at).backgroundColor);
    }
    const style = getComputedStyle(element);
    const color = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [back, fore] = [light(over(behind)), light(over([...behind, color]))];
    const ratio = (Math.max(back, fore) + 0.05) / (Math.min(back, fore) + 0.05);
    if (ratio < 4.5) found.push(`${ratio} ${element.outerHTML.slice(0, 90)}`);
  }
  return found;
}"""
FAILED = re.compile("last 1 h: .*1 failed")
GROUND = "+/[0-9]+/.exec(getComputedStyle(document.documentElement).backgroundColor)[0]"
NAMELESS = """() => [...document.querySelectorAll("button, input, select, [tabindex='0'], [role]")]
  .filter((each) => each.checkVisibility() && !each.ariaLabel && !each.labels?.length
    && !each.getAttribute("aria-labelledby") && !each.textContent.trim() && each.role !== "status")
  .map((each) => each.outerHTML)"""


async def busy(served: Served, emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="clear", user=user(3), status=403, code="Forbidden"))
    for number in (1, 2, 3):
        await served.hold(number, f"call-{number}")
    await served.ask("POST", "/v1/sweeps", {"users": [user(3)], "tenant": TENANT})
    await until(lambda: len(emulator.sessions()) == 3)


async def test_all_that_is_written_can_be_read_in_light_and_dark(
    browser: Browser, served: Served, emulator: Emulator
) -> None:
    await busy(served, emulator)
    async with looking(browser, served.url) as page:
        await expect(page.get_by_role("row", name=user(1))).to_be_visible()
        await expect(page.get_by_role("article")).to_contain_text("Not all are gone")
        await expect(page.locator("#legend")).to_contain_text("failed")
        assert await page.evaluate(CONTRASTS) == []
        assert await page.evaluate(NAMELESS) == []
        assert await page.evaluate(GROUND) > 200
        await page.emulate_media(color_scheme="dark")
        assert await page.evaluate(GROUND) < 40
        assert await page.evaluate(CONTRASTS) == []
        await page.locator("#states").get_by_role("button", name="shown").click()
        await page.get_by_role("button", name="Sweep …").click()
        assert await page.evaluate(CONTRASTS) == []
        await page.emulate_media(color_scheme="light")
        assert await page.evaluate(CONTRASTS) == []
        assert await page.evaluate(NAMELESS) == []


async def test_it_has_landmarks_and_headings_and_fits_a_small_screen(
    browser: Browser, served: Served
) -> None:
    async with looking(browser, served.url) as page:
        await expect(page.get_by_role("banner")).to_be_visible()
        await expect(page.get_by_role("main")).to_be_visible()
        for name in ("Held now", "Outcomes", "Sweeps", "Tenants", "Sessions"):
            await expect(page.get_by_role("heading", name=name, level=2)).to_be_visible()
            assert await page.get_by_role("region", name=name).count() >= 1
        assert await page.get_by_role("heading", level=1).count() == 1
        await page.set_viewport_size({"width": 390, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def tab_to(page: Page, what: str) -> None:
    """Press Tab until what has this accessible name has the focus."""
    name = """() => { const at = document.activeElement;
        return at.ariaLabel || at.labels?.[0]?.textContent || at.textContent; }"""
    seen = []
    for _ in range(60):
        await page.keyboard.press("Tab")
        seen.append((await page.evaluate(name)).strip())
        if seen[-1].startswith(what):
            return
    raise AssertionError(f"{what} is not reached, but only {seen}")


async def test_all_is_reached_by_keys_alone(
    browser: Browser, served: Served, emulator: Emulator
) -> None:
    await busy(served, emulator)
    async with looking(browser, served.url) as page:
        await expect(page.get_by_role("row", name=user(1))).to_be_visible()
        await expect(page.locator("#legend")).to_contain_text("failed")
        press = page.keyboard.press
        await tab_to(page, "Skip to the sessions")
        await expect(page.get_by_role("link", name="Skip to the sessions")).to_be_in_viewport()
        await tab_to(page, "Sweep …")
        await press("Enter")
        await expect(page.get_by_role("button", name="Keep them")).to_be_focused()
        await press("Escape")
        await expect(page.get_by_role("button", name="Sweep …")).to_be_focused()
        await tab_to(page, "shown")
        await press("Space")
        shown = page.locator("#states").get_by_role("button", name="shown")
        await expect(shown).to_have_attribute("aria-pressed", "true")
        await tab_to(page, "6 h")
        await press("ArrowLeft")
        await expect(page.get_by_role("radio", name="1 h")).to_be_checked()
        await expect(page.locator("#chart")).to_have_attribute(
            "aria-label", re.compile("last 1 h: .*1 failed")
        )
        await tab_to(page, "Outcomes of the last")
        await press("End")
        await expect(page.locator("#readout")).to_contain_text("1 failed")
        await tab_to(page, "Shown")
        await press("Enter")
        head = page.get_by_role("columnheader", name="Shown", exact=True)
        await expect(head).to_have_attribute("aria-sort", "descending")
        await press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await page.keyboard.type("call-2")
        await expect(page.get_by_role("row", name=user(1))).to_have_count(0)
        await tab_to(page, f"Clear user {user(2)}")
        await press("Enter")
        await expect(page.get_by_role("button", name="Keep", exact=True)).to_be_focused()
        await press("Tab")
        await press("Enter")
        await expect(page.locator("#told")).to_have_text(f"User {user(2)}: cleared")
        await until(lambda: user(2) not in {each.user for each in emulator.sessions()})


async def test_the_focus_survives_what_comes_and_goes(browser: Browser, served: Served) -> None:
    await served.hold(1)
    await served.hold(3)
    async with looking(browser, served.url) as page:
        button = page.get_by_role("button", name=f"Clear user {user(3)}")
        await button.focus()
        await served.hold(2)
        await expect(page.get_by_role("row", name=user(2))).to_be_visible()
        await expect(button).to_be_focused()
        await served.ask("DELETE", f"/v1/tenants/default/users/{user(3)}/holds/call")
        await expect(button).to_have_count(0)
        await expect(page.locator("#rows")).to_be_focused()
