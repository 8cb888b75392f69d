"""A browser before a daemon that is a process; whatever the browser complains of is a fault."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from host_runs import Child, running, user, variables
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from presence_manager.emulator import Emulator

RUN = "from presence_manager.hosts.cli import main; main()"
BUSY = {"availability": "Busy", "activity": "InACall"}
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "The tests of the page need Chromium: put one of "
    f"{', '.join(NAMES)} on PATH (on Debian and Ubuntu, as root: apt install chromium), "
    "or leave these tests out, and say so: NO_BROWSER=1 make test"
)
PATIENCE = 15_000
"""Milliseconds within which the page shows what it should."""

expect.set_options(timeout=PATIENCE)


def chromium() -> str | None:
    """The system's Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@asynccontextmanager
async def browsing(path: str) -> AsyncIterator[Browser]:
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # then it cannot make its sandbox
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox"] if root else [],
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def looking(
    browser: Browser, url: str, *, allowed: str = r"(?!)", clock: bool = False, **how: Any
) -> AsyncIterator[Page]:
    """A tab that shows the page; at the end, it has complained of nothing but what is `allowed`."""
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        text = f"{message.type}: {message.text}"
        if message.type in ("error", "warning") and not re.search(allowed, text):
            complaints.append(text)

    context = await browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | how))
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(f"not caught: {error}"))
    page.on("request", lambda it: None if it.url.startswith(url) else complaints.append(it.url))
    if clock:
        await page.clock.install()
    try:
        await page.goto(url)
        yield page
    finally:
        await context.close()
    assert complaints == []


class Served:
    """A daemon's process: where it answers, and a client that is not the page."""

    def __init__(self, child: Child, url: str, http: aiohttp.ClientSession) -> None:
        self.child = child
        self.url = url
        self.http = http

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        async with self.http.request(method, path, json=body, **more) as answer:
            assert answer.status < 400, await answer.text()
            return await answer.json()

    async def hold(self, number: int, hold: str = "call", query: str = "") -> None:
        path = f"/v1/tenants/default/users/{user(number)}/holds/{hold}{query}"
        await self.ask("PUT", path, BUSY)


@asynccontextmanager
async def daemon(
    emulator: Emulator, folder: Path, more: Mapping[str, str] | None = None, token: str = ""
) -> AsyncIterator[Served]:
    ready = folder / "ready"
    environment = variables(emulator, folder / "ledger.db") | dict(more or {})
    words = ("run", "--listen", "127.0.0.1:0", "--ready-file", str(ready))
    async with running(RUN, *words, environment=environment) as child:
        while not ready.exists():
            assert child.process.returncode is None, child.out
            await asyncio.sleep(0.01)
        url = ready.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession(url, headers=headers) as http:
            yield Served(child, url, http)
