"""``python -m presence_manager.emulator``: serve until interrupted."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

from .emulator import Emulator
from .serve import run


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m presence_manager.emulator")
    parser.add_argument("--port", type=int, default=0, help="Graph's port; 0 takes a free one")
    parser.add_argument("--tls", action="store_true", help="serve Graph over https too")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.port, tls=options.tls))


async def _serve(port: int, *, tls: bool) -> None:
    def ready(emulator: Emulator) -> None:
        print(emulator.describe(), flush=True)

    forever = asyncio.get_running_loop().create_future()
    await run(ready=ready, stop=forever, port=port, tls=tls, keep=100_000)


if __name__ == "__main__":
    main()
