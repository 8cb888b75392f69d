"""What every command begins with: settings, logs, the ledger, and a manager on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from presence_manager.core.key import guid
from presence_manager.hosts.cli.running import Wrong, debug, warn
from presence_manager.ledger import MemoryLedger, open_ledger
from presence_manager.manager import PresenceManager
from presence_manager.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from presence_manager.ports import Ledger, Token

_TOLD_IN_WORDS = frozenset(
    {"ledger.place", "ledger.foreign_rows", "lane.sign_in_refused", "hold.refused", "sweep.done"}
)
"""Events of which a command says itself what they mean."""


class NoTokens:
    """A sign-in that never happens, for commands that only read the ledger."""

    async def token(self, tenant: str, *, refused: Token | None = None, claims: str = "") -> Token:
        """Refuse: nothing is to be sent."""
        raise AssertionError("a command that only reads the ledger asked for a token")

    async def close(self) -> None:
        """Nothing to let go of."""


def settings(*, quiet_below: str = "error") -> Settings:
    """Read the settings and set up the logs. Raises SettingsError.

    A level that somebody has set is obeyed; by default a command logs from `quiet_below`.
    """
    from presence_manager.hosts import logs  # noqa: PLC0415 - it is imported with the first use

    found = Settings()
    level_from = next(s.source for s in found.describe() if s.name == "logs.level")
    how = found.logs
    if not level_from and not debug.verbose:
        how = how.model_copy(update={"level": quiet_below})
    logs.configure(how)
    if not debug.verbose:
        structlog.configure(processors=[_leave_out, *structlog.get_config()["processors"]])
    return found


def _leave_out(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event.get("event") in _TOLD_IN_WORDS:
        raise structlog.DropEvent
    return event


def ledger_of(found: Settings) -> Ledger:
    """Return the ledger of the settings, not open yet. Raises LedgerUnusable."""
    return open_ledger(found.ledger.url, busy_timeout=found.ledger.busy_timeout)


def file_of(ledger: Ledger) -> Path | None:
    """The file of a ledger; None for one in memory."""
    return getattr(ledger, "path", None)


def tenant_of(found: Settings, option: str | None) -> str:
    """The tenant meant: the option, or the default of the settings, or empty. Raises Wrong."""
    name, text = ("--tenant", option) if option else ("tenant_id", found.tenant_id)
    try:
        return guid(text, "tenant") if text else ""
    except ValueError as error:
        raise Wrong(f"{name}: {error}") from None


def user_of(text: str) -> str:
    """A user's id, in its one spelling. Raises Wrong."""
    try:
        return guid(text, "user")
    except ValueError as error:
        raise Wrong(str(error)) from None


@asynccontextmanager
async def reader(found: Settings, ledger: Ledger) -> AsyncIterator[PresenceManager]:
    """Open a manager that only reads the ledger: it needs no credential, and sends nothing."""
    presence = PresenceManager(found, tokens=NoTokens(), ledger=ledger)
    await presence.open(recover=False)
    try:
        yield presence
    finally:
        await presence.close(sweep=False)


async def warn_of(ledger: Ledger, found: Settings) -> None:
    """Say what is to be known of an open ledger before it is relied on."""
    for warning in ledger.warnings():
        if not (isinstance(ledger, MemoryLedger) and found.ledger.url):  # asked for by name
            warn(warning)
    foreign = await ledger.foreign(found.graph.base_url, found.client_id.lower())
    if foreign:
        many = "sessions" if foreign > 1 else "session"
        warn(f"the ledger has {foreign} {many} of another application or another Graph: left alone")
