"""A daemon that shows whoever is listed in a file as busy, for as long as they are listed.

Needs:    an application with the permission Presence.ReadWrite.All, or the emulator
Install:  pip install presence-manager
Run:      export PRESENCE_TENANT_ID=... PRESENCE_CLIENT_ID=... PRESENCE_CLIENT_SECRET=...
          python examples/daemon.py FILE       (a user's id on each line; change it at will)
You see:  who is shown and who no longer; at Ctrl-C or SIGTERM all are cleared, and the status
          is 1 if somebody may still be shown; a second Ctrl-C hurries
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from presence_manager import Hold, HoldRequest, PresenceManager
from presence_manager.hosts.daemon import main


async def follow(presence: PresenceManager, file: Path) -> None:
    shown: dict[str, Hold] = {}
    while True:
        listed = set((await asyncio.to_thread(file.read_text)).split())
        for user in shown.keys() - listed:
            outcome = await shown.pop(user).release()
            print(user, outcome.kind, flush=True)
        new = [HoldRequest(user, "Busy", "InACall") for user in listed - shown.keys()]
        for request, hold in zip(new, await presence.hold_many(new), strict=True):
            if isinstance(hold, Hold):
                shown[request.user] = hold
            print(request.user, getattr(hold, "state", hold), flush=True)
        await asyncio.sleep(1)


if __name__ == "__main__":
    sys.exit(main(lambda presence: follow(presence, Path(sys.argv[1]))))
