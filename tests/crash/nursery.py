"""A warm process that forks children and kills them: `python -m tests.crash.nursery`.

It has imported everything, and has neither a thread nor an event loop, so that a child costs
milliseconds and is forked safely. Orders come in on standard input, one JSON object a line; what
became of each child goes out the same way. A child's own words are in `log` in its folder.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import structlog

from presence_manager.graph import client, connections

from . import broken
from .points import Fate
from .story import ROLES, hasten, within_limit

LIMIT = 30.0
"""Seconds after which a child is killed that cannot even say where it hangs."""


class Child:
    """One that was forked; `pipe` ends when it does."""

    def __init__(self, order: dict[str, Any], pid: int, pipe: int) -> None:
        self.order = order
        self.pid = pid
        self.pipe = pipe
        self.started = time.monotonic()
        self.limit = self.started + LIMIT
        after = order.get("after")
        self.kill_at = self.limit if after is None else self.started + after

    def ended(self) -> dict[str, Any]:
        """What became of it."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pipe)
        now = time.monotonic()
        return {
            "number": self.order["number"],
            "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
            "status": status,
            "hung": now >= self.limit,
            "seconds": now - self.started,
        }


def main() -> None:
    hasten()
    # Made anew in each child it would cost more than all the rest; no child uses it.
    context = connections.tls_context(None)
    client.tls_context = lambda _: context
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    gc.collect()
    gc.freeze()
    children: dict[int, Child] = {}
    text = b""
    while True:
        now = time.monotonic()
        for child in children.values():
            if now >= child.kill_at:
                os.kill(child.pid, signal.SIGKILL)
                child.kill_at = float("inf")
        due = min((child.kill_at for child in children.values()), default=float("inf"))
        wait = None if due == float("inf") else max(0.0, due - time.monotonic())
        ready, _, _ = select.select([0, *children], [], [], wait)
        for pipe in ready:
            if pipe != 0:
                print(json.dumps(children.pop(pipe).ended()), flush=True)
                continue
            read = os.read(0, 1 << 16)
            if not read:
                return
            *orders, text = (text + read).split(b"\n")
            for order in orders:
                child = born(json.loads(order), children)
                children[child.pipe] = child


def born(order: dict[str, Any], siblings: dict[int, Child]) -> Child:
    """Fork a child."""
    mine, its = os.pipe()
    pid = os.fork()
    if not pid:
        for pipe in (mine, *siblings):
            os.close(pipe)
        grow_up(order)
    os.close(its)
    return Child(order, pid, mine)


def grow_up(order: dict[str, Any]) -> NoReturn:
    """Live the child's life; nothing of it returns to the nursery's code."""
    status = 1
    try:
        folder = Path(order["folder"])
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        print(
            f"-- {order['role']}, process {os.getpid()}, {order['point']} {order['at']}", flush=True
        )
        random.seed(order["number"])
        broken.FAULTS[order["broken"]]()
        fate = Fate(order["point"], order["at"])
        fate.arm()
        asyncio.run(within_limit(ROLES[order["role"]](order, fate)))
        (folder / "passages").write_text(json.dumps(fate.passages))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
