"""SIGHUP: settings, tokens and certificate are read anew while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog

from presence_manager.errors import PresenceError
from presence_manager.hosts import logs
from presence_manager.hosts.api.serve import Server
from presence_manager.hosts.systemd import Systemd
from presence_manager.manager import PresenceManager
from presence_manager.settings import Settings

log = structlog.get_logger()

RELOADED = frozenset(
    {
        *("http.token", "http.tokens_file", "http.tls_cert", "http.tls_key"),
        *("graph.budget", "graph.budget_ceiling"),
        *("logs.level", "logs.format", "logs.hash_users"),
    }
)
"""Settings that a reload puts in force; the others need a restart."""
_TLS = frozenset({"http.tls_cert", "http.tls_key"})


class Reloads:
    """Reads all anew when asked, with `read`; what cannot be used changes nothing, and is logged.

    `running` are the settings that the server and the manager began with.
    """

    def __init__(self, read: Callable[[], Settings], running: Settings, server: Server) -> None:
        self._read = read
        self._server = server
        self._running = dict(_flat(running.model_dump()))
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have all read anew; while that is done, once more afterwards."""
        self._asked.set()

    async def serve(self, presence: PresenceManager, systemd: Systemd) -> None:
        """Reload whenever asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            if presence.status().state != "open":  # it closes: nothing is to be changed any more
                continue
            systemd.reloading()
            try:
                await self._reload(presence)
            except PresenceError as error:
                log.error("daemon.not_reloaded", error=str(error), in_force="what was before")
            except Exception:
                log.exception("daemon.not_reloaded", in_force="what was before")
            finally:
                systemd.ready(presence.status())

    async def _reload(self, presence: PresenceManager) -> None:
        found, put_in_force = await asyncio.to_thread(self._read_all)
        given = dict(_flat(found.model_dump()))
        reloaded = RELOADED
        if (self._running["http.tls_cert"] is None) != (given["http.tls_cert"] is None):
            reloaded -= _TLS  # the sockets are served with TLS, or without it, from the start
        changed = {
            name
            for name in given.keys() | self._running.keys()
            if given.get(name) != self._running.get(name)
        }
        put_in_force()
        if changed & {"graph.budget", "graph.budget_ceiling"}:
            presence.change_budget(found.graph)
        logs.configure(found.logs)
        self._running |= {name: given[name] for name in changed & reloaded}
        log.info("daemon.reloaded", changed=sorted(changed & reloaded))
        if left := sorted(changed - reloaded):
            log.warning("daemon.needs_restart", settings=left, in_force="what was before")

    def _read_all(self) -> tuple[Settings, Callable[[], None]]:
        found = self._read()
        return found, self._server.read_anew(found.http)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Each setting by its dotted name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value
