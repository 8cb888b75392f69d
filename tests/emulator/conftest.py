from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from presence_manager.emulator import Emulator

from .client import APP, Client, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(clock=clock, limit=100, window=30.0, apps={APP: "s3cret"}) as emulator:
        yield emulator


@pytest.fixture
def graph(emulator: Emulator, session: aiohttp.ClientSession) -> Client:
    return Client(emulator, session)
