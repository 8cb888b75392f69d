"""The ledgers that are held to the contract, each ready for use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from presence_manager.ledger import MemoryLedger, SqliteLedger
from presence_manager.ledger.writer import InlineWriter
from presence_manager.ports import Ledger

KINDS = ("memory", "sqlite", "sqlite-inline")


@pytest.fixture(params=KINDS)
def closed_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    """A ledger that is not open yet."""
    if request.param == "memory":
        return MemoryLedger()
    writer = InlineWriter() if request.param == "sqlite-inline" else None
    return SqliteLedger(tmp_path / "ledger.db", writer=writer)


@pytest.fixture
async def ledger(closed_ledger: Ledger) -> AsyncIterator[Ledger]:
    """An open ledger, closed at the end."""
    await closed_ledger.open()
    yield closed_ledger
    await closed_ledger.close()
