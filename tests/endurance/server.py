"""The emulator in a process of its own, so that its memory is not ours; always in foul weather."""

from __future__ import annotations

import asyncio
import sys

from presence_manager.emulator import Emulator, Fault

TENANT = "7a000000-0000-4000-8000-000000000001"
APP = "7a000000-0000-4000-8000-00000000000a"

FAULTS = (
    Fault(verb="any", effect="throttle", retry_after=1, probability=0.0005),
    Fault(verb="any", status=503, retry_after=1, probability=0.003),
    Fault(verb="any", status=503, probability=0.003, applied=True),
    Fault(verb="any", effect="missing", probability=0.003, applied=True),
    Fault(verb="any", effect="duplicate", probability=0.003),
    Fault(verb="batch", effect="reset", every=97),
    Fault(verb="batch", effect="reset", every=101, applied=True),
    Fault(verb="batch", effect="cut", every=103, applied=True),
    Fault(verb="batch", effect="garbage", every=107, applied=True),
    Fault(verb="batch", effect="stale", every=11),
    Fault(verb="batch", status=502, html=True, every=109),
    Fault(verb="batch", effect="hang", every=199),
)


async def main() -> None:
    """Print the address and a token, and serve until standard input ends."""
    async with Emulator(limit=10**9, keep=1000, seed=1) as emulator:
        for fault in FAULTS:
            emulator.add_fault(fault)
        print(emulator.graph_url, emulator.token(TENANT, APP, lifetime=864_000.0), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
