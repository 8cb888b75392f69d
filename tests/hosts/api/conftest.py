"""An emulator and a daemon for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from serving import Daemon, serving, settings_for

from presence_manager.emulator import Emulator


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def daemon(emulator: Emulator) -> AsyncIterator[Daemon]:
    async with serving(settings_for(emulator)) as daemon:
        yield daemon
