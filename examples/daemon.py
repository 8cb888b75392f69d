"""A daemon: shows the people on call as do-not-disturb until it is stopped.

Needs    PRESENCE_TENANT_ID, PRESENCE_CLIENT_ID, PRESENCE_CLIENT_SECRET, or the lines that
         `presence-manager emulator` prints
Install  pip install presence-manager
Run      python examples/daemon.py USER-ID ...
See      a line for each user; on Ctrl-C or SIGTERM all of them are cleared, and the exit status
         is 0 when none is left; a second signal hurries, and leaves the rest to the next start
"""

from __future__ import annotations

import asyncio
import sys

from presence_manager import HoldFailed, HoldRequest, PresenceManager, Settings
from presence_manager.hosts import logs
from presence_manager.hosts.daemon import run_until_stopped


async def work(presence: PresenceManager) -> None:
    people = sys.argv[1:]
    held = await presence.hold_many(HoldRequest(user, "DoNotDisturb") for user in people)
    for user, hold in zip(people, held, strict=True):
        if isinstance(hold, HoldFailed):
            print(f"{user} is not shown: {hold.error}", flush=True)
        else:
            print(f"{user} is shown as {hold.pair}", flush=True)
    await asyncio.Future()  # renewals go on by themselves, until we are stopped


def main() -> int:
    settings = Settings()
    logs.configure(settings.logs)
    return asyncio.run(run_until_stopped(settings, work))


if __name__ == "__main__":
    sys.exit(main())
