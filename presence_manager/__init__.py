"""Tracks, renews and clears the Teams presence sessions of an application.

    async with PresenceManager(Settings()) as presence:
        hold = await presence.hold("user-id", "Busy", "InACall")
        await hold.release()

Names load on first use: importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from presence_manager.core.outcome import Kind, Outcome, Progress, Report
    from presence_manager.core.session import Known, Session
    from presence_manager.errors import (
        Closed,
        HoldRefused,
        HoldTimeout,
        InvalidHold,
        LedgerError,
        LedgerUnusable,
        PresenceError,
        SettingsError,
        SignInError,
        SignInRefused,
        SignInUnavailable,
    )
    from presence_manager.manager import PresenceManager
    from presence_manager.manager.hold import Hold, HoldFailed, HoldRequest
    from presence_manager.settings import Settings

_HOMES = {
    "presence_manager.core.outcome": ("Kind", "Outcome", "Progress", "Report"),
    "presence_manager.core.session": ("Known", "Session"),
    "presence_manager.errors": (
        "Closed",
        "HoldRefused",
        "HoldTimeout",
        "InvalidHold",
        "LedgerError",
        "LedgerUnusable",
        "PresenceError",
        "SettingsError",
        "SignInError",
        "SignInRefused",
        "SignInUnavailable",
    ),
    "presence_manager.manager.hold": ("Hold", "HoldFailed", "HoldRequest"),
    "presence_manager.manager": ("PresenceManager",),
    "presence_manager.settings": ("Settings",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order in which one meets them
    "PresenceManager",
    "Settings",
    "Hold",
    "HoldRequest",
    "HoldFailed",
    "Session",
    "Known",
    "Outcome",
    "Kind",
    "Report",
    "Progress",
    "PresenceError",
    "InvalidHold",
    "HoldRefused",
    "HoldTimeout",
    "Closed",
    "SettingsError",
    "LedgerError",
    "LedgerUnusable",
    "SignInError",
    "SignInRefused",
    "SignInUnavailable",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
