"""The points at which a process can be killed, and the one at which it dies.

A point is a place in the code, before or after it: a function or a statement of SQL. A child wraps
them all and counts how often each is passed; at the chosen passage it ends by SIGKILL, from within,
so that nothing is cleaned up.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import aiohttp

from presence_manager.engine import books, whole
from presence_manager.engine.books import Books
from presence_manager.engine.intake import Intake
from presence_manager.engine.lane import Lane
from presence_manager.engine.placing import Placing
from presence_manager.engine.recovery import Recovery
from presence_manager.engine.renewer import Renewer
from presence_manager.engine.request import Request
from presence_manager.engine.sweeper import Sweeper
from presence_manager.graph import client
from presence_manager.graph.client import GraphClient
from presence_manager.ledger import owners, writer
from presence_manager.ledger.owners import OwnerLocks
from presence_manager.ledger.writer import ThreadWriter
from presence_manager.manager import closing, manager

PLACES: tuple[tuple[Any, str], ...] = (
    (OwnerLocks, "enter"),  # the lock file of a process, beside the ledger
    (OwnerLocks, "leave"),
    (owners, "_remove"),
    (ThreadWriter, "start"),
    (writer, "_settle"),  # the writer's thread has committed; now its callers are told
    (Placing, "place"),  # step 1 of the path: the intent
    (Intake, "_take"),  # a chunk of a sweep
    (Request, "_begun"),  # the attempt is committed
    (Request, "_still"),
    (GraphClient, "send"),  # step 4: before it leaves, and when its answer is judged
    (GraphClient, "_exchange"),
    (client, "read"),  # the answer has come
    (books, "commit"),  # step 6: the record
    (whole, "record"),  # of a bundle
    (Books, "put"),
    (Books, "deliver"),  # recorded, and nobody told
    (Renewer, "_look"),
    (Recovery, "once"),
    (Recovery, "_dead"),
    (Sweeper, "run"),
    (Lane, "stop"),
    (manager, "within"),  # the parts of a close, before its sweep
    (closing, "within"),  # and after it
)
LEFT, JUDGED = "request/left", "request/judged"
"""The request was handed to the kernel; and so many seconds later, when Graph has acted on it."""
JUDGED_AFTER = 0.002
_WRITES = re.compile(
    r"(?:\s|--[^\n]*\n)*"  # comments
    r"(?:(?P<insert>INSERT)(?: OR IGNORE)? INTO (?P<t1>\w+)|(?P<update>UPDATE) (?P<t2>\w+)"
    r"|(?P<delete>DELETE) FROM (?P<t3>\w+)|(?P<ddl>CREATE|ALTER)\b"
    r"|(?P<pragma>PRAGMA (?:application_id|user_version|journal_mode)) =)"
)


def end() -> NoReturn:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("the dead do not speak")


class Fate:
    """Counts the passages of each point; ends the process at the `at`-th of `point`."""

    def __init__(self, point: str | None, at: int) -> None:
        self._point = point
        self._at = at
        self.passages: Counter[str] = Counter()

    def passes(self, point: str) -> None:
        if self._meets(point):
            end()

    def _meets(self, point: str) -> bool:
        self.passages[point] += 1
        return point == self._point and self.passages[point] == self._at

    def arm(self) -> None:
        """Wrap all places of this process."""
        for owner, name in PLACES:
            where = f"{owner.__name__.rpartition('.')[2]}.{name}"
            setattr(owner, name, self._wrapped(getattr(owner, name), where))
        self._arm_requests()
        connect = functools.partial(sqlite3.connect, factory=self._connection())
        sqlite3.connect = connect  # type: ignore[assignment]

    def _wrapped(self, real: Callable[..., Any], where: str) -> Callable[..., Any]:
        before, after = f"{where}/before", f"{where}/after"
        if inspect.iscoroutinefunction(real):

            @functools.wraps(real)
            async def step(*args: Any, **how: Any) -> Any:
                self.passes(before)
                result = await real(*args, **how)
                self.passes(after)
                return result
        else:

            @functools.wraps(real)
            def step(*args: Any, **how: Any) -> Any:
                self.passes(before)
                result = real(*args, **how)
                self.passes(after)
                return result

        return step

    def _arm_requests(self) -> None:
        """aiohttp waits for an answer in `start`, when the request has been written."""
        real = aiohttp.ClientResponse.start

        async def start(response: aiohttp.ClientResponse, *args: Any) -> aiohttp.ClientResponse:
            loop = asyncio.get_running_loop()
            if self._meets(LEFT):
                loop.call_later(0.0, end)
            if self._meets(JUDGED):
                loop.call_later(JUDGED_AFTER, end)
            return await real(response, *args)

        aiohttp.ClientResponse.start = start  # type: ignore[method-assign]

    def _connection(self) -> type[sqlite3.Connection]:
        """A connection whose writing statements and commits are points."""
        passes = self.passes

        class Connection(sqlite3.Connection):
            changes = -1

            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # type: ignore[override]
                return self._pointed(super().execute, sql, *values)

            def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:  # type: ignore[override]
                return self._pointed(super().executemany, sql, values)

            def _pointed(self, do: Callable[..., Any], sql: str, *values: Any) -> Any:
                point = self._point(sql)
                if point is not None:
                    passes(f"{point}/before")
                result = do(sql, *values)
                if point is not None:
                    passes(f"{point}/after")
                if sql == "BEGIN IMMEDIATE":
                    self.changes = self.total_changes
                return result

            def _point(self, sql: str) -> str | None:
                if sql == "COMMIT":
                    changed, self.changes = self.total_changes != self.changes, self.total_changes
                    return "COMMIT" if changed else None
                words = _WRITES.match(sql)
                if words is None:
                    return None
                return " ".join(word for word in words.groups() if word)

        return Connection
