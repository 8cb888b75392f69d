"""Every setting, with its unit, default and bounds.

Read from the arguments, then `PRESENCE_*` variables (nested with `__`), then the TOML file named
by `PRESENCE_CONFIG`. The Azure variables that other tools use are understood where ours are not
given.
"""

from presence_manager.settings.credentials import Credentials, TenantSettings
from presence_manager.settings.http import HttpSettings
from presence_manager.settings.model import Setting, Settings
from presence_manager.settings.sections import (
    GraphSettings,
    HoldSettings,
    LedgerSettings,
    LogSettings,
    RecoverySettings,
    ReleaseSettings,
    RetrySettings,
    ShutdownSettings,
)

__all__ = [
    "Credentials",
    "GraphSettings",
    "HoldSettings",
    "HttpSettings",
    "LedgerSettings",
    "LogSettings",
    "RecoverySettings",
    "ReleaseSettings",
    "RetrySettings",
    "Setting",
    "Settings",
    "ShutdownSettings",
    "TenantSettings",
]
