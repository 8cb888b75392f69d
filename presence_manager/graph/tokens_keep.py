"""Where a user's own sign-in is kept between runs: the system's keyring, or a private file.

Imports msal_extensions: import this module on the worker thread only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msal_extensions

from presence_manager.graph.tokens_failure import Failure
from presence_manager.settings.places import state_folder

_NAMES = {"keyring": "sign-in.keyring", "file": "sign-in.json"}


class _Keep(msal_extensions.PersistedTokenCache):  # type: ignore[misc]  # msal has no types
    def add(self, event: dict[str, Any], **more: Any) -> None:
        """Add what was answered, without what was asked: msal would log the device code."""
        super().add({**event, "data": {}}, **more)


def keep_of(how: str) -> Any:
    """Return msal's token cache for `how`, "keyring" or "file"; raises Failure.

    Several processes may use it at a time. The file beside a keyring only says when that changed.
    """
    path = keep_path(how)
    failure: Failure | None = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if how == "file":
            _make_private(path)
            return _Keep(msal_extensions.FilePersistence(str(path)))
    except OSError as error:
        failure = _no_keep(f"{path}: {error.strerror or type(error).__name__}")
    if failure is None:
        try:
            keyring = msal_extensions.build_encrypted_persistence(str(path))
            return _Keep(keyring)
        except Exception as error:  # every system has exceptions of its own for it
            failure = _no_keep(f"no keyring of the system can be used ({type(error).__name__})")
    raise failure


def keep_path(how: str) -> Path:
    """Return the file in the user's state folder; raises Failure where there is none."""
    try:
        home: Path | None = Path.home()
    except RuntimeError:
        home = None
    folder = state_folder(sys.platform, os.environ, home)
    if folder is None:
        raise _no_keep("this user has no home folder")
    return folder / _NAMES[how]


def _make_private(path: Path) -> None:
    """Make the file before msal does, or take from others what they might do with it."""
    number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(number, 0o600)
        if os.fstat(number).st_size == 0:
            os.write(number, b"{}")
    finally:
        os.close(number)


def _no_keep(why: str) -> Failure:
    return Failure(
        f"the sign-in cannot be kept: {why}; delegated (PRESENCE_DELEGATED) may be keyring, or "
        "file, which is not encrypted and only this user can read",
        refused=True,
        code="no_keep",
    )
