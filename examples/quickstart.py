"""Show users as in a call until Ctrl-C; then every one of them is cleared.

Needs:    an application with the permission Presence.ReadWrite.All, or the emulator
          (`presence-manager emulator` prints the variables that point here to it)
Install:  pip install presence-manager
Run:      export PRESENCE_TENANT_ID=... PRESENCE_CLIENT_ID=... PRESENCE_CLIENT_SECRET=...
          python examples/quickstart.py USER-ID [USER-ID ...]
You see:  a line for each user; after Ctrl-C how many were cleared, and the status 1 if not all
"""

from __future__ import annotations

import asyncio
import sys

from presence_manager import HoldRequest, PresenceManager


async def main(presence: PresenceManager, users: list[str]) -> None:
    async with presence:
        for hold in await presence.hold_many(HoldRequest(u, "Busy", "InACall") for u in users):
            print(hold)
        print("Ctrl-C releases", flush=True)
        await asyncio.Event().wait()  # the holds are renewed meanwhile


if __name__ == "__main__":
    manager = PresenceManager()
    try:
        asyncio.run(main(manager, sys.argv[1:]))
    except KeyboardInterrupt:
        report = manager.last_report
        print(f"released: {report.counts if report else 'interrupted'}")
        sys.exit(0 if report and report.ok else 1)
