"""One connection to the ledger file: transactions that many jobs share, and the lanes by number."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

from presence_manager.core.key import LaneId
from presence_manager.errors import LedgerError, LedgerUnusable
from presence_manager.ledger.queries import load_queries
from presence_manager.ledger.schema import open_file, patiently
from presence_manager.ledger.trouble import translated

SQL = load_queries("sqlite")

_open: WeakSet[Database] = WeakSet()
_inherited: set[tuple[int, int] | None] = set()
"""The files that were open in the parent when this process was forked.

SQLite keeps what is locked by process, once for each file: a child would count its parent's locks
among its own, and the parent's last close would take the file's journal away from under it.
"""


class Job:
    """A piece of work on the database; after its transaction it has a result or an error.

    What it did is kept, or undone, as a whole. `writes` says whether it needs the ledger's one
    write lock.
    """

    __slots__ = ("error", "result", "work", "writes")

    def __init__(self, work: Callable[[Database], Any], *, writes: bool) -> None:
        self.work = work
        self.writes = writes
        self.result: Any = None
        self.error: Exception | None = None


class Database:
    """A connection, used by one thread at a time."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self.path = Path(os.path.realpath(path))
        self._busy_timeout = busy_timeout
        if _identity(self.path) in _inherited:
            raise LedgerUnusable(
                f"the ledger {self.path} was open when this process was forked, and cannot be used "
                "safely here: nothing was changed in it. Open it after the fork only, or start "
                "the process anew (spawn)."
            )
        self.connection = open_file(self.path, busy_timeout)
        self._file = _identity(self.path)
        self._beside = [self.path.with_name(self.path.name + each) for each in ("-wal", "-shm")]
        self._journal = [_identity(path) for path in self._beside]
        _open.add(self)
        self._lanes: dict[LaneId, int] = {}

    def close(self) -> None:
        """Close the connection; the last one of all processes tidies up the file."""
        _open.discard(self)
        self.connection.close()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs in one transaction, so that they share one commit.

        A job that fails is undone alone. What breaks the transaction itself fails all that wrote
        in it; those that only read, or had not run yet, get another.
        """
        while jobs:
            try:
                jobs = self._run_some(jobs)
            finally:
                if self.connection.in_transaction:
                    self._undo_all()

    def undo(self) -> None:
        """Undo what the running job has done so far."""
        self._lanes.clear()
        self.connection.execute("ROLLBACK TO job")

    def find_lane(self, lane: LaneId) -> int | None:
        """Return the lane's number, None if the ledger does not know it."""
        number = self._lanes.get(lane)
        if number is None:
            row = self.connection.execute(SQL["lane"], lane).fetchone()
            if row is None:
                return None
            number = self._lanes[lane] = row[0]
        return number

    def lane(self, lane: LaneId) -> int:
        """Return the lane's number, a new one if the ledger does not know it."""
        number = self.find_lane(lane)
        if number is None:
            number = self.connection.execute(SQL["add_lane"], lane).lastrowid
            assert number is not None
            self._lanes[lane] = number
        return number

    def _run_some(self, jobs: Sequence[Job]) -> Sequence[Job]:
        execute = self.connection.execute
        try:
            self._begin(writes=any(job.writes for job in jobs))
        except Exception as error:
            return self._fail(jobs, error)
        for index, job in enumerate(jobs, 1):
            try:
                execute("SAVEPOINT job")
                job.result = job.work(self)
                execute("RELEASE job")
            except Exception as error:
                try:
                    self.undo()
                    execute("RELEASE job")
                except sqlite3.Error:  # the database has given up the whole transaction
                    self._fail([job], error)
                    return [*self._fail(jobs[: index - 1], error), *jobs[index:]]
                self._fail([job], error)
        try:
            execute("COMMIT")
        except Exception as error:
            return self._fail(jobs, error)
        return ()

    def _begin(self, *, writes: bool) -> None:
        if writes:
            if _identity(self.path) != self._file:
                raise LedgerError(
                    f"the ledger {self.path} was removed or replaced while in use: nothing of "
                    "this call was saved. Put the file back, or start again with the new one."
                )
            if [_identity(path) for path in self._beside] != self._journal:
                raise LedgerError(
                    f"the -wal or -shm file beside the ledger {self.path} was removed or replaced "
                    "while in use: nothing of this call was saved, for no other process would see "
                    "it. Stop all processes that use the ledger, and start again."
                )
            patiently(lambda: self.connection.execute("BEGIN IMMEDIATE"), self._busy_timeout)
        else:
            patiently(self._begin_reading, self._busy_timeout)

    def _begin_reading(self) -> None:
        self.connection.execute("BEGIN")
        try:
            self.connection.execute(SQL["first_read"])
        except BaseException:
            self._undo_all()
            raise

    def _fail(self, jobs: Sequence[Job], error: Exception) -> Sequence[Job]:
        """Fail those that write, if any does, else all; return the others, to be run again."""
        failed = [job for job in jobs if job.writes] or jobs
        for job in failed:
            job.result = None
            if job.error is None:
                job.error = translated(error, self.path, self._busy_timeout)
        return [job for job in jobs if not job.writes and job.error is None]

    def _undo_all(self) -> None:
        self._lanes.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - thrice for each commit, and twice as quick
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _note_inherited() -> None:
    _inherited.update(database._file for database in _open if database._file is not None)


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows does not fork
    os.register_at_fork(after_in_child=_note_inherited)
