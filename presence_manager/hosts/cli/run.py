"""`presence-manager run`: the daemon."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from presence_manager.hosts.cli.running import Wrong
from presence_manager.hosts.daemon import run_until_stopped
from presence_manager.hosts.signals import on_hangup
from presence_manager.hosts.systemd import Systemd
from presence_manager.manager import PresenceManager
from presence_manager.settings import Settings


def run(listen: str | None, ready_file: Path | None) -> int:
    """Serve until told to stop; return the exit status."""
    from presence_manager.hosts import logs  # noqa: PLC0415 - it is imported with the first use

    try:
        from presence_manager.hosts.api.meters import Metered  # noqa: PLC0415
        from presence_manager.hosts.api.reload import Reloads  # noqa: PLC0415
        from presence_manager.hosts.api.serve import Server  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Wrong(
            f"the module {error.name} is missing: pip install 'presence-manager[daemon]'"
        ) from None

    def read() -> Settings:
        return Settings() if listen is None else Settings(http={"listen": listen})

    systemd = Systemd(os.environ)
    settings = read()
    logs.configure(settings.logs)
    server = Server(settings.http)
    metered = Metered(settings)
    reloads = Reloads(read, settings, server)

    async def main() -> int:
        with on_hangup(reloads.ask):
            await server.bind()
            try:
                return await run_until_stopped(
                    lambda: metered.presence, work, closing=systemd.closing
                )
            finally:
                server.close()

    async def work(presence: PresenceManager) -> None:
        def ready(urls: list[str]) -> None:
            _settle_memory()
            _tell(ready_file, urls)
            systemd.ready(presence.status())

        beside = {
            asyncio.create_task(systemd.watch(metered.ledger.try_to_write, presence.status)),
            asyncio.create_task(reloads.serve(presence, systemd)),
        }
        try:
            await server.work(metered, ready)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    try:
        with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
            return runner.run(main())
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's where it is installed; a call costs about a quarter less then."""
    try:
        import uvloop  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def _settle_memory() -> None:
    """Spare the collector what stays for ever: each full look at it is a pause of 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(3_000)


def _tell(ready_file: Path | None, urls: list[str]) -> None:
    """Write the address into the file, whole or not at all."""
    if ready_file is None:
        return
    handle, name = tempfile.mkstemp(dir=ready_file.parent, prefix=ready_file.name)
    with os.fdopen(handle, "w") as file:
        file.write(urls[0] + "\n")
    Path(name).replace(ready_file)
