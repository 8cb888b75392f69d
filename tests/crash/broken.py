"""Faults planted in the children, to prove that what is checked can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def nothing() -> None:
    """All as it is."""


def no_doubt() -> None:
    """A clear without an answer is forgotten: what it did is taken for somebody else's doing."""
    from presence_manager.core import change

    real = change._after_clear

    def certain(row: Any, *how: Any) -> Any:
        return real(row._replace(doubt=False), *how)

    change._after_clear = certain


def no_intent() -> None:
    """What is committed is durable a second after its caller is told."""
    from presence_manager.core.session import Known
    from presence_manager.ledger.sqlite import SqliteLedger

    real = SqliteLedger.put
    later: set[asyncio.Task[Any]] = set()

    async def put(ledger: SqliteLedger, steps: Any) -> Any:
        if all(step.row.known is Known.ABSENT for step in steps):

            async def write() -> None:
                await asyncio.sleep(1.0)
                await real(ledger, steps)

            later.add(asyncio.ensure_future(write()))
            return {}
        return await real(ledger, steps)

    SqliteLedger.put = put  # type: ignore[method-assign]


def no_transaction() -> None:
    """Each statement of a migration is a commit of its own."""
    from presence_manager.ledger import schema

    real = schema._migrate

    def migrate(connection: Any, number: int) -> None:
        connection.execute("COMMIT")
        real(connection, number)
        connection.execute("BEGIN IMMEDIATE")

    schema._migrate = migrate


FAULTS: dict[str, Callable[[], None]] = {
    "": nothing,
    "no doubt": no_doubt,
    "no intent": no_intent,
    "no transaction": no_transaction,
}
