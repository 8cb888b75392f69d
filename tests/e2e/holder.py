"""A process of its own that holds users until it is killed; says so on its standard output."""

from __future__ import annotations

import asyncio
import sys

from presence_manager import Hold, HoldRequest, PresenceManager


async def main(users: list[str]) -> None:
    async with PresenceManager() as presence:
        holds = await presence.hold_many(HoldRequest(user, "Busy") for user in users)
        shown = sum(isinstance(hold, Hold) and hold.state == "shown" for hold in holds)
        print("holding", shown, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
