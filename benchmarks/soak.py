"""The daemon under a steady load: a fixed number of API calls a second, whatever it answers.

    python -m benchmarks.soak --seconds 600 --rate 500 --tenants 50

Three processes on this machine: the emulator (latency, faults, a limit per tenant), the daemon with
a ledger on the disk, and this one, which calls. In the end the daemon gets SIGTERM in the middle of
the load, and its books are held against what the emulator still shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.graph.ids import tenant_id, user_id
from benchmarks.process import ROOT, environment, new_folder

USERS = 200
"""Users of each tenant that are held and let go, again and again."""
DOCUMENTED = {200, 202, 409}
"""What it answers when all is well; 409: somebody else let go of the hold meanwhile. 503 is for the
end, from SIGTERM on."""


class Load:
    """Calls at the times that the rate asks for, and what became of them."""

    def __init__(self, url: str, tenants: int) -> None:
        self.statuses: Counter[str] = Counter()
        self.took: list[tuple[float, float]] = []
        self.strange: list[str] = []
        self.stopping = False
        self._url = url
        self._tenants = tenants
        self._chance = random.Random(1)
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self, http: aiohttp.ClientSession, rate: float, until: float) -> None:
        """Begin a call whenever one is due, whether or not the others are done."""
        started, number = time.monotonic(), 0
        while (now := time.monotonic()) < until and not self.stopping:
            while number < (now - started) * rate:
                number += 1
                task = asyncio.create_task(self._call(http))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
            await asyncio.sleep(0.002)

    async def rest(self) -> None:
        """Wait for the calls under way."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=15.0)

    async def _call(self, http: aiohttp.ClientSession) -> None:
        draw = self._chance.random()
        tenant = self._chance.randrange(self._tenants)
        who = f"/v1/tenants/{tenant_id(tenant)}/users/"
        who += user_id(self._chance.randrange(USERS), tenant)
        body: dict[str, Any] | None = None
        if draw < 0.6:
            method, path = "PUT", f"{who}/holds/call"
            body = {"availability": "Busy", "activity": "InACall", "ttl": 300}
        elif draw < 0.9:
            method, path = "DELETE", f"{who}/holds/call"
        elif draw < 0.95:
            method, path, body = "POST", f"{who}/clear", {}
        else:
            method, path = "GET", f"/v1/sessions?tenant={tenant_id(tenant)}&limit=50"
        began = time.monotonic()
        try:
            async with http.request(method, self._url + path, json=body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[f"{method} {type(error).__name__}"] += 1
            if not self.stopping:
                self.strange.append(
                    f"{method} {path}: {error!r} after {time.monotonic() - began:.2f} s"
                )
            return
        if method == "PUT":
            self.took.append((began, time.monotonic() - began))
        self.statuses[f"{method} {answer.status}"] += 1
        if answer.status not in DOCUMENTED and not (self.stopping and answer.status == 503):
            self.strange.append(f"{method} {path}: {answer.status} {text[:200]}")


async def soak(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run it; return the figures."""
    emulator = subprocess.Popen(
        [*_command("emulator"), "--latency", str(asked.latency), "--limit", "10000"],
        stdout=subprocess.PIPE, env=environment(), cwd=ROOT, text=True,
    )  # fmt: skip
    daemon = None
    try:
        settings = _exports(emulator)
        graph = settings["PRESENCE_GRAPH__BASE_URL"]
        async with aiohttp.ClientSession() as http:
            for fault in _faults(asked.faults):
                async with http.post(f"{graph}/_emulator/faults", json=fault) as answer:
                    answer.raise_for_status()
        ready = folder / "ready"
        daemon = subprocess.Popen(
            [*_command("run"), "--listen", "127.0.0.1:0", "--ready-file", str(ready)],
            env=environment()
            | settings
            | {
                "PRESENCE_LEDGER__URL": f"sqlite:///{folder / 'ledger.db'}",
                "PRESENCE_LOGS__LEVEL": "error",
            },
            cwd=ROOT,
        )
        while not ready.exists():
            await asyncio.sleep(0.05)
        url = ready.read_text().strip()
        return await _measured(asked, daemon, url, emulator.pid, graph, folder)
    finally:
        for process in (daemon, emulator):
            if process is not None:
                process.kill()
                process.wait()
        assert emulator.stdout is not None
        emulator.stdout.close()


async def _measured(
    asked: argparse.Namespace,
    daemon: subprocess.Popen[bytes],
    url: str,
    emulator: int,
    graph: str,
    folder: Path,
) -> dict[str, Any]:
    load = Load(url, asked.tenants)
    memory: list[int] = []
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
    ) as http:
        part = min(10.0, asked.seconds / 6)
        before = _processor(daemon.pid)
        started = time.monotonic()
        until = started + asked.seconds
        running = asyncio.create_task(load.run(http, asked.rate, until + 60.0))
        while time.monotonic() < until:
            await asyncio.sleep(part)
            memory.append(_resident(daemon.pid))
        cpu = {
            "daemon": round(_processor(daemon.pid) - before, 2),
            "emulator": _processor(emulator),
        }
        cpu["load"] = round(time.process_time(), 1)
        load.stopping = True
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)  # in the middle of the load
        while daemon.poll() is None and time.monotonic() < began + 30:
            await asyncio.sleep(0.02)
        ended = time.monotonic() - began
        await running
        await load.rest()
        async with http.get(f"{graph}/_emulator/sessions") as answer:
            shown = {(each["tenant"], each["user"]) for each in await answer.json()}
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        rows = set(
            ledger.execute("SELECT l.tenant, s.user FROM sessions s JOIN lanes l ON l.id = s.lane")
        )
    took = sorted(seconds for _, seconds in load.took)
    parts: dict[int, list[float]] = {}
    for began, seconds in load.took:
        parts.setdefault(int((began - started) / part), []).append(seconds)
    return {
        "calls": load.statuses.total(),
        "statuses": dict(sorted(load.statuses.items())),
        "undocumented": load.strange[:10],
        "put_p50_ms": _milliseconds(took, 0.5),
        "put_p99_ms": _milliseconds(took, 0.99),
        "put_max_ms": _milliseconds(took, 1.0),
        "put_p99_ms_over_time": [_milliseconds(sorted(parts[n]), 0.99) for n in sorted(parts)],
        "resident_mib": [value // 1024 for value in memory],
        "cpu_s": cpu,
        "exit": daemon.returncode,
        "exit_s": round(ended, 2),
        "shown_after": len(shown),
        "shown_and_not_in_the_ledger": len(shown - rows),
        "rows_left": len(rows),
    }


def _milliseconds(took: list[float], share: float) -> float:
    return round(took[min(int(len(took) * share), len(took) - 1)] * 1000, 1)


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "presence_manager", name]


def _exports(emulator: subprocess.Popen[str]) -> dict[str, str]:
    """Read the variables that the emulator prints as a shell would."""
    assert emulator.stdout is not None
    found: dict[str, str] = {}
    for line in emulator.stdout:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            found[name] = value
        if line.startswith("# export "):  # the last one
            break
    return found


def _faults(share: float) -> list[Mapping[str, Any]]:
    """So many of the requests go wrong: half are answered 503, half end in a reset."""
    if not share:
        return []
    half = {"verb": "any", "probability": share / 2}
    return [
        half | {"effect": "status", "status": 503, "retry_after": 1},
        half | {"effect": "reset", "applied": True},
    ]


def _resident(pid: int) -> int:
    """Return a process's memory in KiB; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def _processor(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run it from the command line; 1 if the daemon did what it does not promise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=500.0, help="API calls a second")
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds until Graph answers")
    parser.add_argument("--faults", type=float, default=0.01, help="share that goes wrong")
    asked = parser.parse_args()
    with new_folder() as folder:
        found = asyncio.run(soak(asked, Path(folder)))
    print(json.dumps(found, indent=2))
    return 1 if found["undocumented"] or found["shown_and_not_in_the_ledger"] else 0


if __name__ == "__main__":
    sys.exit(main())
