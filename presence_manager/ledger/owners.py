"""Owners by OS file lock: alive is whose file is locked, and the kernel lets go at death.

`lock_descriptor` rather than filelock's FileLock: the descriptor is ours then, so that it can be
closed in a forked child, and no soft lock, which outlives its process, ever takes its place.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote
from weakref import WeakSet

from filelock import lock_descriptor

from presence_manager.errors import LedgerError

_SUFFIX = ".lock"
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_PLAIN, _MARK = b"-", b"!"  # all that an owner's file holds
_FORK_PATIENCE = 5.0  # seconds a fork waits for a lock file that is being looked at

_looking = threading.Lock()
"""Held while descriptors come and go: a fork in between would give the child a share in a lock."""


class OwnerLocks:
    """The lock files of a ledger, `<ledger>.owners/<owner>.lock`.

    Its methods block and raise OSError. They are called within a write transaction of the ledger,
    which no two processes are in at the same time: whoever looks at a file locks it for a moment,
    and would be taken for its owner by another that looks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        _all.add(self)

    def enter(self, owner: str) -> None:
        """Lock the owner's file; LedgerError if another process of that name is alive."""
        with _looking:
            if owner in self._held:
                return
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = self._locked(self._file(owner))
            if descriptor is None:
                raise LedgerError(
                    f"another running process is named {owner} in {self._folder}: nothing was "
                    "saved. Give each process a name of its own."
                )
            self._held[owner] = descriptor
            with suppress(OSError):  # so that `mark` finds room even when the disk is full by then
                os.write(descriptor, _PLAIN)

    def leave(self, owner: str) -> None:
        """Remove the file of an owner that entered here, or that is dead; harmless otherwise."""
        path = self._file(owner)
        with _looking:
            descriptor = self._held.pop(owner, None)
            if descriptor is None:
                descriptor = self._of_the_dead(path)
            if descriptor is not None:
                _remove(path, descriptor)

    def let_go(self) -> None:
        """Unlock the files of all owners that entered here, and leave them: they are dead now."""
        with _looking:
            self.drop_inherited()

    def mark(self, owner: str, *, on: bool) -> None:
        """Write into the file of an owner that entered here whether it is marked."""
        with _looking:
            descriptor = self._held[owner]
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, _MARK if on else _PLAIN)
            os.fsync(descriptor)

    def marked(self) -> frozenset[str]:
        """Return all owners whose file is marked."""
        return frozenset(owner for owner, path in self._files() if _is_marked(path))

    def alive(self) -> frozenset[str]:
        """Return all owners whose file is locked."""
        others = {owner for owner, path in self._others() if self._is_locked(path)}
        return frozenset(others | self._held.keys())

    def dead(self) -> frozenset[str]:
        """Return all owners whose file is there, and not locked.

        It is asked from time to time, and puts back files of ours that somebody removed.
        """
        self._put_back()
        return frozenset(owner for owner, path in self._others() if not self._is_locked(path))

    def _put_back(self) -> None:
        """Make files of living owners again: what cleans a folder of old files takes these, too."""
        with _looking:
            for owner, descriptor in self._held.items():
                path = self._file(owner)
                if _is_at(path, descriptor):
                    continue
                self._folder.mkdir(mode=0o700, exist_ok=True)
                again = self._locked(path)
                if again is None:  # another process has taken the name meanwhile
                    continue
                self._held[owner] = again
                with suppress(OSError):
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(again, os.read(descriptor, 1))
                os.close(descriptor)

    def _others(self) -> Iterator[tuple[str, Path]]:
        return ((owner, path) for owner, path in self._files() if owner not in self._held)

    def _files(self) -> Iterator[tuple[str, Path]]:
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - names are all that is wanted
        except FileNotFoundError:
            return
        for name in names:
            owner = unquote(name.removesuffix(_SUFFIX))
            if name.endswith(_SUFFIX):
                yield owner, self._folder / name

    def drop_inherited(self) -> None:
        """In a forked child: close the parent's descriptors, or the locks would outlive it."""
        for descriptor in self._held.values():
            with suppress(OSError):
                os.close(descriptor)
        self._held.clear()

    def _file(self, owner: str) -> Path:
        return self._folder / (quote(owner, safe="") + _SUFFIX)

    def _is_locked(self, path: Path) -> bool:
        with _looking:
            descriptor = self._of_the_dead(path)
            if descriptor is None:
                return path.exists()
            os.close(descriptor)
            return False

    @staticmethod
    def _of_the_dead(path: Path) -> int | None:
        """Lock the file for a moment, if it is there and nobody has it locked."""
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            return None
        try:
            if lock_descriptor(descriptor, blocking=False) and _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @staticmethod
    def _locked(path: Path) -> int | None:
        while True:
            descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o600)
            try:
                mine = lock_descriptor(descriptor, blocking=False)
                if mine and _is_at(path, descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            if not mine:
                return None
            # The file was removed between opening and locking it: that lock guards no name.


def _is_marked(path: Path) -> bool:
    with _looking, suppress(OSError):
        descriptor = os.open(path, _FLAGS)
        try:
            return os.read(descriptor, 1) == _MARK
        finally:
            os.close(descriptor)
    return False


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path, descriptor: int) -> None:
    """Remove the file while its lock is held, and let go of it."""
    try:
        with suppress(OSError):  # Windows removes no open file: a dead one's file may stay there
            path.unlink()
    finally:
        os.close(descriptor)


_all: WeakSet[OwnerLocks] = WeakSet()
_forking: dict[int, bool] = {}


def _before_fork() -> None:
    _forking[threading.get_ident()] = _looking.acquire(timeout=_FORK_PATIENCE)


def _after_fork() -> None:
    if _forking.pop(threading.get_ident()):
        _looking.release()


def _after_fork_in_child() -> None:
    _forking.clear()
    if _looking.locked():  # by the thread that forked, or by one that is not here any more
        _looking.release()
    for locks in list(_all):
        locks.drop_inherited()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows does not fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
