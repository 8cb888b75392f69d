"""The README in one file: hold, release, sweep, report.

Needs    nothing but presence-manager, and no tenant: the emulator stands in for Graph
Install  pip install 'presence-manager[cli]'
Run      presence-manager emulator              # prints "export PRESENCE_..." lines
         python examples/quickstart.py          # in a second terminal, after those lines
See      one user shown as in a call and cleared again, then three more cleared by one sweep
"""

from __future__ import annotations

import asyncio
import sys

from presence_manager import HoldRequest, PresenceManager, Settings

# Object ids of users; the emulator takes any, Graph takes those of your tenant.
ALEX = "6e7b768e-07e2-4810-8459-485f84f8f204"
TEAM = [
    "87d349ed-44d7-43e1-9a83-5f2406dee5bd",
    "5bde3e51-d13b-4db1-9948-fe4b109d11a7",
    "4782e723-f4f4-4af3-a76e-25e3bab0d896",
]


async def main() -> bool:
    async with PresenceManager(Settings()) as presence:
        hold = await presence.hold(ALEX, "Busy", "InACall")
        print(f"{hold.user} is shown as {hold.pair}")
        outcome = await hold.release()
        print(f"{outcome.user}: {outcome.kind}")

        await presence.hold_many(HoldRequest(user, "DoNotDisturb") for user in TEAM)
        async for session in presence.sessions():
            print(f"{session.user} is {session.known}")
        report = await presence.sweep(deadline=20.0)
        for kind, number in report.counts.items():
            print(f"{number} {kind} in {report.seconds:.1f} s")
    return report.ok


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
