"""A file that a setting names, read whole."""

from __future__ import annotations

from pathlib import Path

from presence_manager.errors import SettingsError

_LARGEST = 1_048_576  # bytes; a file of certificates is a hundredth of it


def read_file(path: Path, setting: str) -> bytes:
    """Return what the file holds; raise SettingsError, naming the setting, if that is nothing."""
    why = ""
    try:
        if path.exists() and not path.is_file():
            raise SettingsError(f"{setting}: {path} is not a file")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
    if why:
        raise SettingsError(f"{setting}: {path} cannot be read: {why}")
    if not data.strip():
        raise SettingsError(f"{setting}: {path} is empty")
    if len(data) > _LARGEST:
        raise SettingsError(f"{setting}: {path} is too large: it has more than a megabyte")
    return data


def read_secret(path: Path, setting: str) -> str:
    """Return the secret that is all the file holds; raise SettingsError, without showing it."""
    text = read_file(path, setting).decode("ascii", "replace").strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise SettingsError(
            f"{setting}: {path} has to hold the secret alone, but there is a space, a line break "
            "or another odd sign in it (not shown)"
        )
    return text
