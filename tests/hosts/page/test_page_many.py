"""A hundred thousand sessions: counted and looked for by the daemon, and never all in the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from browsing import daemon, looking
from host_runs import APP, user
from playwright.async_api import Browser, expect

from presence_manager.core.key import Key, LaneId
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Known, Session, Step, Wish
from presence_manager.emulator import Emulator
from presence_manager.ledger import SqliteLedger

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = 100_000
TENANTS = 40
WATCH = """() => {
  const seen = window.seen = { longest: 0, frames: 0 };
  let last = performance.now();
  const frame = (now) => { seen.longest = Math.max(seen.longest, now - last); seen.frames += 1;
    last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}"""


@asynccontextmanager
async def crowded(emulator: Emulator, path: Path) -> AsyncIterator[None]:
    """A ledger of many sessions, whose owner lives within the block: nobody sees to them."""
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.enter("another-process")
    for tenant in range(TENANTS):
        lane = LaneId(emulator.graph_url, APP, f"7a000000-0000-4000-9000-{tenant:012x}")
        numbers = range(tenant * MANY // TENANTS, (tenant + 1) * MANY // TENANTS)
        await ledger.put([Step(0, row(lane, number), wishes=True) for number in numbers])
    yield
    await ledger.close()


def row(lane: LaneId, number: int) -> Session:
    wish = Wish(f"call-{number}", "another-process", PAIRS[1], 600.0, 1.0, until=4e9)
    return Session(
        key=Key(lane, user(number)),
        version=1,
        owner="another-process",
        clock="another-process",
        wishes=(wish,),
        known=Known.SHOWN,
        pair=PAIRS[1],
        due=4e9,
        may_live_until=4e9,
    )


async def test_it_stays_smooth(browser: Browser, emulator: Emulator, tmp_path: Path) -> None:
    rows = "#session-table tbody tr:not(.space)"
    async with (
        crowded(emulator, tmp_path / "ledger.db"),
        daemon(emulator, tmp_path) as served,
        looking(browser, served.url) as page,
    ):
        await expect(page.locator(rows).first).to_be_visible()
        first = await page.evaluate("performance.now()")
        assert first < 5_000, f"it took {first:.0f} ms until something was seen"
        await expect(page.locator("#place")).to_contain_text("of 100,000")
        await expect(page.locator("#total")).to_have_text("100,000")
        await page.evaluate(WATCH)
        scroller = page.locator("#rows")
        for _ in range(12):  # a page each: that many are fetched, and let go again
            await scroller.evaluate("each => each.scrollTop = each.scrollHeight")
            await page.wait_for_function(
                "(each) => each.scrollHeight - each.scrollTop > 2 * each.clientHeight",
                arg=await scroller.element_handle(),
            )
        await scroller.evaluate("each => each.scrollTop = 2000 * 30")
        await expect(page.get_by_role("row", name=user(2000))).to_be_visible()
        await scroller.evaluate("each => each.scrollTop = 0")
        await expect(page.get_by_role("row", name=user(0))).to_be_visible()
        seen = await page.evaluate("window.seen")
        assert seen["longest"] < 1_000, f"a frame of {seen['longest']:.0f} ms"
        assert await page.locator(rows).count() < 100
        assert await page.evaluate("document.querySelectorAll('*').length") < 3_000
        await page.get_by_role("searchbox").fill(f"call-{MANY - 1}")
        await expect(page.get_by_role("row", name=user(MANY - 1))).to_be_visible()
        await page.get_by_role("searchbox").fill(user(54_321)[:-1])
        await expect(page.get_by_role("row", name=user(54_321))).to_be_visible()
