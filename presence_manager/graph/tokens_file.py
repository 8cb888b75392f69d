"""A file that a setting names, read whole."""

from __future__ import annotations

from pathlib import Path

from presence_manager.errors import SettingsError

_LARGEST = 1_048_576  # bytes; a file of certificates is a hundredth of it


def read_file(path: Path, setting: str) -> bytes:
    """Return what the file holds; raise SettingsError, naming the setting, if that is nothing."""
    data, why = _content(path)
    if why:
        raise SettingsError(f"{setting}: {path} {why}")
    return data


def read_secret(path: Path, setting: str) -> str:
    """Return the secret that is all the file holds; raise SettingsError, without showing it."""
    text = _alone(read_file(path, setting))
    if not text:
        raise SettingsError(
            f"{setting}: {path} has to hold the secret alone, but there is a space, a line break "
            "or another odd sign in it (not shown)"
        )
    return text


# Of the frames that an error is raised in, none has in its locals what was read.


def _content(path: Path) -> tuple[bytes, str]:
    """Return what the file holds, or nothing and what is wrong with it."""
    try:
        if path.exists() and not path.is_file():
            return b"", "is not a file"
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        return b"", f"cannot be read: {error.strerror or type(error).__name__}"
    if len(data) > _LARGEST:
        return b"", "is too large: it has more than a megabyte"
    return (data, "") if data.strip() else (b"", "is empty")


def _alone(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    return text if text.isascii() and text.isprintable() and " " not in text else ""
