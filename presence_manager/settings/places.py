"""Where a user's programs keep their state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def state_folder(platform: str, environ: Mapping[str, str], home: Path | None) -> Path | None:
    """Return our folder among the user's state; None where no folder of the user is known.

    `platform` is `sys.platform`.
    """
    ours = "presence-manager"
    if platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / ours
    state = environ.get("XDG_STATE_HOME", "")
    if platform not in ("win32", "darwin") and Path(state).is_absolute():
        return Path(state) / ours
    if home is None:
        return None
    if platform == "win32":
        return home / "AppData" / "Local" / ours
    if platform == "darwin":
        return home / "Library" / "Application Support" / ours
    return home / ".local" / "state" / ours
