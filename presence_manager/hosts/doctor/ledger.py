"""Whether the ledger lies where it lasts and can be written, and who uses it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from presence_manager.errors import LedgerError
from presence_manager.hosts.doctor.finding import Finding, fail, ok, skipped, warn
from presence_manager.ledger.place import place_warnings
from presence_manager.ports import Ledger

_MB = 1_000_000
_TIGHT = 200 * _MB
"""Bytes on the disk from which on down it is warned of."""
_FULL = 20 * _MB
"""Bytes with which no sweep can be written down."""


async def opens(ledger: Ledger, path: Path | None) -> Finding:
    """Open it: is it sound, and may it be written? One that is not there is not made."""
    if path is not None and not is_there(path):
        folder = _folder(path)
        if os.access(folder, os.W_OK | os.X_OK):
            return ok("ledger", f"{path} is not there yet: the first start makes it")
        return fail(
            "ledger",
            f"{path} is not there, and this user may not write into {folder}",
            "give it the right, or name another file with PRESENCE_LEDGER__URL",
        )
    try:
        await ledger.open()
    except LedgerError as error:
        return fail("ledger", str(error), "name a file that can be used with PRESENCE_LEDGER__URL")
    if path is None:
        return ok("ledger", "it is in memory")
    return ok("ledger", f"{path} is sound and can be written")


async def place(ledger: Ledger, path: Path | None, *, is_open: bool) -> Finding:
    """Whether the place outlives a restart, whether locks hold there, who else may read it."""
    warnings = ledger.warnings() if is_open or path is None else place_warnings(path)
    if warnings:  # each is a sentence that ends with what to do
        split = [each.rpartition("; " if "; " in each else ". ") for each in warnings]
        return warn("place", "; ".join(s for s, _, _ in split), "; ".join(d for _, _, d in split))
    return ok("place", "it lies on a local disk, closed to other users")


async def space(path: Path | None) -> Finding:
    """Whether there is room to write down what happens."""
    if path is None:
        return skipped("space", "the ledger is in memory")
    try:
        usage = await asyncio.to_thread(shutil.disk_usage, _folder(path))
    except OSError as error:
        return skipped("space", f"the system does not tell the room on the disk: {error.strerror}")
    says = f"{usage.free / _MB:,.0f} MB are free on the ledger's disk"
    if usage.free < _TIGHT:
        do = "make room: without it no hold can be written down, and so none is set"
        return (fail if usage.free < _FULL else warn)("space", says, do)
    return ok("space", says)


async def owners(ledger: Ledger) -> Finding:
    """Which processes use it, and whether one died whose sessions nobody has seen to."""
    alive, dead = await ledger.alive(), await ledger.dead()
    says = f"{_count(alive, 'process')} on the ledger" if alive else "no process runs on the ledger"
    if dead:
        return warn(
            "owners",
            f"{says}; {_count(dead, 'process')} died, and nobody has cleared what they left",
            "`presence-manager recover` does; so does the next start of a process on this ledger",
        )
    return ok("owners", says)


async def strangers(ledger: Ledger, origin: str, app: str) -> Finding:
    """Whether it has rows that this application does not touch."""
    count = await ledger.foreign(origin, app)
    if count:
        return warn(
            "strangers",
            f"{count:,} sessions in the ledger are of another application or another Graph, and "
            "are left alone",
            "clear them with the settings with which they were set, or give each a ledger",
        )
    return ok("strangers", "all sessions in the ledger are of this application and this Graph")


def is_there(path: Path | None) -> bool:
    """Whether there is a ledger to look into; one in memory always is."""
    return path is None or path.exists()


def _count(names: Sequence[str] | frozenset[str], what: str) -> str:
    return f"1 {what}" if len(names) == 1 else f"{len(names):,} {what}es"


def _folder(path: Path) -> Path:
    """The nearest folder that is there."""
    return next(parent for parent in path.parents if parent.is_dir())
