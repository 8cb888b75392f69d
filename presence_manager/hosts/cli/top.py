"""`presence-manager top`: frame after frame on a terminal, one frame anywhere else."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.live import Live

from presence_manager.errors import LedgerError
from presence_manager.hosts.cli.opening import file_of, ledger_of, settings
from presence_manager.hosts.cli.output import console
from presence_manager.hosts.cli.running import Status, Stop, Wrong, serve, while_read
from presence_manager.hosts.cli.times import seconds
from presence_manager.hosts.top.books import Books
from presence_manager.hosts.top.frame import Frame, Source
from presence_manager.hosts.top.remote import NoDaemon, Remote
from presence_manager.hosts.top.screen import drawn

_SHORTEST = 0.5
"""Seconds between two looks, at least: looking must not be the work."""
_LONGEST_TOKEN = 8192
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_QUIT = b"qQ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What stands on the command line."""

    url: str | None
    token_file: str | None
    interval: str
    once: bool


def top(asked: Asked) -> int:
    """Watch until told to stop; return the exit status."""
    pause = max(_SHORTEST, seconds(asked.interval, "--interval"))
    token = token_of(asked.token_file) if asked.token_file else ""
    if token and not asked.url:
        raise Wrong("--token-file: is for a daemon; name it with --url")
    url = url_of(asked.url) if asked.url else ""
    source = Remote(url, token) if url else _books()
    live = not asked.once and console().is_terminal

    async def work(stop: Stop) -> int:
        try:
            await source.open()
            await _watch(source, stop, pause if live else None)
        except NoDaemon as error:
            raise Wrong(str(error)) from None
        finally:
            await source.close()
        return Status.DONE

    return serve(work)


async def _watch(source: Source, stop: Stop, pause: float | None) -> None:
    """Show a frame, and on a terminal (`pause` seconds) another, until the stop is asked."""
    frame = await _look(source, stop)
    screen = console()
    if frame is None:
        return
    if pause is None:
        with while_read():
            screen.print(drawn(frame, time.time(), None))
        return
    note = ""
    with _keys(stop), Live(console=screen, screen=True, auto_refresh=False) as live:
        while not stop.asked.is_set():
            picture = drawn(frame, time.time(), screen.size.height, note)
            live.update(picture, refresh=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.asked.wait()
            try:
                frame, note = await _look(source, stop) or frame, ""
            except (LedgerError, NoDaemon) as error:  # it may come back: the last frame stays
                note = str(error)


async def _look(source: Source, stop: Stop) -> Frame | None:
    """Take a frame; None when the stop is asked first."""
    looking = asyncio.create_task(source.look(time.time()))
    if await stop.comes_before(looking):
        looking.cancel()
        await asyncio.wait({looking})
        return None
    return looking.result()


def _books() -> Source:
    found = settings()
    ledger = ledger_of(found)
    path = file_of(ledger)
    if path is None:
        raise Wrong("a ledger in memory can be seen by its own process only: --url asks a daemon")
    if not path.exists():
        raise Wrong(f"there is no ledger at {path} yet; PRESENCE_LEDGER__URL names another one")
    return Books(ledger, found, str(path))


def url_of(text: str) -> str:
    """Where the daemon listens: an origin, or unix:/path. Raises Wrong."""
    text = text.strip().rstrip("/")
    if text.startswith("unix:/"):
        return text
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        fits = False
    if not fits or "@" in text or parts.path or parts.query or parts.fragment:
        raise Wrong("--url: write http://127.0.0.1:8787, or unix:/path, where the daemon listens")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise Wrong("--url: plain http is accepted for this machine only; use https")
    return text


def token_of(file: str) -> str:
    """Read the one token that the file holds. Raises Wrong."""
    try:
        with Path(file).expanduser().open("rb") as opened:
            text = opened.read(_LONGEST_TOKEN + 1).decode("ascii").strip()
    except OSError as error:
        raise Wrong(f"--token-file: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text or " " in text or len(text) > _LONGEST_TOKEN:
        raise Wrong(f"--token-file: {file} must hold one token, and nothing else")
    return text


@contextmanager
def _keys(stop: Stop) -> Iterator[None]:
    """Let q ask the stop, where there is a keyboard; Ctrl-C does everywhere."""
    try:
        import termios  # noqa: PLC0415 - there is none on Windows
        import tty  # noqa: PLC0415

        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
    except (ImportError, OSError, ValueError, termios.error):
        yield
        return
    loop = asyncio.get_running_loop()

    def pressed() -> None:
        typed = b""
        with suppress(OSError):
            typed = os.read(keyboard, 1024)
        if not typed:  # the terminal is gone
            loop.remove_reader(keyboard)
        if not typed or any(key in _QUIT for key in typed):
            stop.asked.set()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
