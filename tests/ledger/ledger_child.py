"""What the tests of the ledger run as processes of their own; each role talks by lines."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress

from ledger_samples import key, new, row

from presence_manager.core.session import Step
from presence_manager.errors import LedgerError
from presence_manager.ledger import SqliteLedger
from presence_manager.ledger.writer import InlineWriter

USERS = [str(n) for n in range(20)]


def say(*words: object) -> None:
    print(*words, flush=True)


def told() -> str:
    return sys.stdin.readline()


async def enter(path: str, *owners: str) -> None:
    """Be alive as these owners until told."""
    ledger = SqliteLedger(path)
    await ledger.open()
    for owner in owners:
        await ledger.enter(owner)
    say("in")
    told()
    await ledger.close()
    say("out")


async def race(path: str, me: str, rounds: str) -> None:
    """Move all rows on as often as possible, and say how often that was won."""
    ledger = SqliteLedger(path, busy_timeout=30.0)
    await ledger.open()
    say("ready")
    told()
    won = 0
    for _ in range(int(rounds)):
        rows = await ledger.get([key(user) for user in USERS])
        steps = [Step(r.version, row(r.key.user, r.version + 1, owner=me)) for r in rows]
        won += len(steps) - len(await ledger.put(steps))
    await ledger.close()
    say(won)


async def write(path: str) -> None:
    """Write versions of one row for ever, and say each when it is said to be saved."""
    ledger = SqliteLedger(path)
    await ledger.open()
    version = 0
    while True:
        await ledger.put([Step(version, row("a", version + 1))])
        version += 1
        say(version)


async def first(path: str) -> None:
    """Be among the first to open a ledger."""
    say("ready")
    told()
    ledger = SqliteLedger(path, busy_timeout=30.0)
    await ledger.open()
    await ledger.put(new(str(os.getpid())))
    await ledger.close()
    say("done")


async def fork(path: str, inline: str) -> None:
    """Fork with the ledger open; the child tries to use it, says what came of it, and lives on."""
    ledger = SqliteLedger(path, writer=InlineWriter() if inline == "inline" else None)
    await ledger.open()
    await ledger.enter("parent")
    if os.fork():
        await asyncio.Event().wait()
    own = SqliteLedger(path, writer=InlineWriter())
    for attempt in (ledger.get([]), ledger.enter("child"), own.open()):
        try:
            attempt.send(None)
        except LedgerError as error:
            say(error)
    try:
        ledger.close().send(None)
    except StopIteration:
        say(os.getpid())
    told()
    os._exit(0)


async def hang(path: str) -> None:
    """End while the disk hangs."""
    ledger = SqliteLedger(path)
    await ledger.open()
    entered = threading.Event()

    def never(_: object) -> None:
        entered.set()
        threading.Event().wait()

    stuck = asyncio.ensure_future(ledger._run(never, writes=True))
    await asyncio.to_thread(entered.wait)
    stuck.cancel()
    say("end")


async def open_only(path: str) -> None:
    """Open the ledger and say what came of it."""
    try:
        ledger = SqliteLedger(path, writer=InlineWriter())
        await ledger.open()
        await ledger.close()
        say("opened")
    except LedgerError as error:
        say(error)


async def fork_closed(path: str) -> None:
    """Fork after the ledger was closed; the child opens it."""
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.close()
    if os.fork() == 0:
        try:
            own = SqliteLedger(path, writer=InlineWriter())
            for use in (own.open(), own.put(new("a")), own.close()):
                with suppress(StopIteration):
                    use.send(None)
            say("opened")
        finally:
            os._exit(0)
    os.wait()


async def open_as_nobody(path: str) -> None:
    """The same without root's rights."""
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    await open_only(path)


_ALL = (enter, race, write, first, fork, fork_closed, hang, open_only, open_as_nobody)
ROLES = {role.__name__: role for role in _ALL}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](*sys.argv[2:]))
