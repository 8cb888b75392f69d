"""One browser for all tests of the page, on one event loop; a daemon for each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from browsing import MISSING, Served, browsing, chromium, daemon
from playwright.async_api import Browser

from presence_manager.emulator import Emulator


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if os.environ.get("NO_BROWSER", "0") not in ("", "0"):
        pytest.skip("NO_BROWSER is set: the page is not tried")
    path = chromium()
    if path is None:
        pytest.fail(MISSING, pytrace=False)
    async with browsing(path) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest_asyncio.fixture(loop_scope="session")
async def served(emulator: Emulator, tmp_path: Path) -> AsyncIterator[Served]:
    async with daemon(emulator, tmp_path) as served:
        yield served
