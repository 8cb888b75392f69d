"""Rows to put into a ledger, and other processes on it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from presence_manager.core.key import Key, LaneId
from presence_manager.core.session import Session, Step
from presence_manager.ports import Query, Scope

ORIGIN, APP = "https://graph.microsoft.com", "app-1"
LANE = LaneId(ORIGIN, APP, "tenant-1")
OWN = Scope(origin=ORIGIN, app=APP)
ALL = Query(origin=ORIGIN, app=APP)
_CHILD = Path(__file__).with_name("ledger_child.py")


def key(user: str) -> Key:
    return Key(LANE, user)


def row(user: str, version: int = 1, **fields: object) -> Session:
    return Session(key=key(user), version=version, **fields)  # type: ignore[arg-type]


def new(*users: str) -> list[Step]:
    """Steps that make a row for each user."""
    return [Step(0, row(user)) for user in users]


class Child:
    """A process running a role of ledger_child.py, spoken to by lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def line(self) -> str:
        """Wait for its next line."""
        text = self._out.readline()
        assert text, f"the child ended with {self.process.wait()}"
        return text.strip()

    def rest(self) -> list[str]:
        """Wait for all its lines until it ends."""
        return self._out.read().split("\n")

    def go(self) -> None:
        """Let it go on."""
        self._in.write("\n")
        self._in.flush()

    def kill(self) -> None:
        """End it as the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def child(*arguments: object, **options: object) -> Iterator[Child]:
    """Start a child; it is killed at the end if it still runs."""
    command = [sys.executable, str(_CHILD), *map(str, arguments)]
    with subprocess.Popen(  # type: ignore[call-overload]
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            yield Child(process)
        finally:
            process.kill()
