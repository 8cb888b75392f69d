"""`presence-manager emulator`: Graph's presence API on this machine."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from presence_manager.emulator import Emulator
from presence_manager.emulator import run as emulate
from presence_manager.hosts.cli.running import Status, Stop, Wrong, say, serve

_KEEP = 100_000
"""Entries of its journal: it may run for days."""


def emulator(**options: Any) -> int:
    """Serve until a signal; say on stdout how to reach it, as a shell can read it."""

    def ready(running: Emulator) -> None:
        print(running.describe(), flush=True)
        say("serving; Ctrl-C stops it, and forgets what it holds")

    async def work(stop: Stop) -> int:
        asked = asyncio.create_task(stop.asked.wait())
        try:
            await emulate(ready=ready, stop=asked, keep=_KEEP, **options)
        except ValueError as error:
            raise Wrong(f"--host: {error}") from None
        except OSError as error:
            where = f"{options['host']}:{options['port']}"
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise Wrong(f"cannot listen on {where}: {reason}; --port 0 takes a free port") from None
        finally:
            asked.cancel()
        return Status.DONE

    return serve(work)
