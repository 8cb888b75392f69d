"""`presence-manager run` as what it is: a process, real sockets, real signals."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
from host_runs import TENANT, running, until, user, variables

from presence_manager.emulator import Emulator

RUN = "from presence_manager.hosts.cli import main; main()"


async def test_a_hold_over_http_and_a_clean_end(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    async with Emulator() as emulator:
        environment = variables(emulator, tmp_path / "ledger.db")
        words = ("run", "--listen", "127.0.0.1:0", "--ready-file", str(ready))
        async with running(RUN, *words, environment=environment) as child:
            await until(ready.exists)
            url = ready.read_text().strip()
            async with aiohttp.ClientSession(url) as http:
                path = f"/v1/tenants/default/users/{user(1)}/holds/call-1"
                async with http.put(path, json={"availability": "Busy"}) as answer:
                    assert answer.status == 200, await answer.text()
                    hold = await answer.json()
                assert hold["state"] == "shown"
                assert hold["tenant"] == TENANT
                async with http.get("/v1/sessions") as answer:
                    sessions = (await answer.json())["sessions"]
                assert [each["user"] for each in sessions] == [user(1)]
                assert [session.user for session in emulator.sessions()] == [user(1)]
                child.signal(signal.SIGTERM)
                status, seconds = await child.ended()
            assert status == 0, child.out
            assert seconds < 3
            assert emulator.sessions() == []
            assert not ready.exists()
            await asyncio.sleep(0)
