"""The processes of the demo: `graph` is the emulator, `bot` holds the users.

They obey lines on standard input and answer with JSON lines; when the input ends, so do they.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from presence_manager.core.outcome import Progress, Report
from presence_manager.emulator import Emulator
from presence_manager.emulator import run as emulate
from presence_manager.hosts import logs
from presence_manager.manager import PresenceManager
from presence_manager.manager.hold import HoldFailed, HoldRequest
from presence_manager.settings import Settings

Commands = asyncio.Queue[list[str]]


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time can be moved forward: all that waits in it sees time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0.0

    def time(self) -> float:
        """Seconds of the monotonic clock, and as many as it was moved."""
        return super().time() + self.moved


class LoopClock:
    """The manager's clock in the demo: the time of day, moved together with its loop's."""

    def __init__(self, loop: Loop, start: float) -> None:
        self._loop = loop
        self._ahead = start - loop.time()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._loop.time() + self._ahead


def tell(event: str, **facts: Any) -> None:
    """Answer the parent."""
    print(json.dumps({"event": event, **facts}), flush=True)


def report_of(report: Report) -> dict[str, Any]:
    """What the parent wants to know of a report."""
    return {"seconds": report.seconds, "counts": report.counts, "sweep": report.sweep_id}


async def graph(commands: Commands) -> None:
    """Emulate Graph until told to stop."""

    def ready(emulator: Emulator) -> None:
        tell("ready", url=emulator.graph_url, environment=emulator.environment())

    await emulate(ready=ready, stop=commands.get(), tls=True, latency=0.08)


async def bot(commands: Commands) -> None:
    """Hold users as told; the manager is the whole of it."""
    import time  # noqa: PLC0415 - only here is the time of day wanted

    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    presence = PresenceManager(Settings(), clock=LoopClock(loop, time.time()))
    await presence.open()
    tell("ready", pid=os.getpid())
    while True:
        match await commands.get():
            case ["recover"]:
                tell("recovered", **report_of(await presence.recovered()))
            case ["hold", *people]:
                await _hold(presence, people)
            case ["move", seconds]:
                loop.moved += float(seconds)
                await asyncio.sleep(0)
                tell("moved")
            case ["close", seconds]:
                await _close(presence, float(seconds))
                return


async def _hold(presence: PresenceManager, people: list[str]) -> None:
    requests = [
        HoldRequest(user, "Busy", "InACall", tenant=tenant)
        for tenant, user in (person.split("/") for person in people)
    ]
    results = await presence.hold_many(requests)
    failed = [str(one.error) for one in results if isinstance(one, HoldFailed)]
    tell("held", shown=len(results) - len(failed), failed=failed[:3])


async def _close(presence: PresenceManager, deadline: float) -> None:
    def progress(now: Progress) -> None:
        tell("progress", done=now.done)

    report = await presence.close(deadline=deadline, progress=progress)
    assert report is not None
    problems = [
        {"user": problem.user, "kind": problem.kind, "why": problem.message or problem.reason}
        for problem in report.problems
    ]
    tell("closed", **report_of(report), ok=report.ok, problems=problems)


def _obey(loop: asyncio.AbstractEventLoop, commands: Commands) -> None:
    """Pass on the parent's lines, in a thread; when the parent is gone, be gone."""
    with open(0, "rb", buffering=0, closefd=False) as lines:
        rest = b""
        while chunk := lines.read(65536):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                loop.call_soon_threadsafe(commands.put_nowait, line.decode().split())
    os._exit(0)


async def _play(role: Callable[[Commands], Any]) -> None:
    commands: Commands = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_obey, args=(loop, commands), daemon=True).start()
    await role(commands)


def main() -> None:
    """Play the role that is named on the command line."""
    logs.configure(Settings(logs={"level": "error", "format": "console"}).logs)
    role = {"graph": graph, "bot": bot}[sys.argv[1]]
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(_play(role))


if __name__ == "__main__":
    main()
