"""`presence-manager top --url` reads what this daemon answers."""

from __future__ import annotations

from time import time

import pytest
from host_runs import TENANT
from serving import serving, settings_for

from presence_manager.emulator import Emulator
from presence_manager.hosts.top.remote import NoDaemon, Remote


async def test_it_reads_tenants_and_outcomes(emulator: Emulator) -> None:
    token = "t" * 32
    async with serving(settings_for(emulator, http={"token": token})) as daemon:
        headers = {"Authorization": f"Bearer {token}"}
        await daemon.presence.hold("5e000000-0000-4000-8000-000000000001", "Busy")
        await daemon.presence.hold("5e000000-0000-4000-8000-000000000002", "Busy")
        path = "/v1/tenants/default/users/5e000000-0000-4000-8000-000000000002/clear"
        assert (await daemon.ask("POST", path, headers=headers))[0] == 200
        remote = Remote(daemon.server.urls[0], token)
        await remote.open()
        frame = await remote.look(time())
        await remote.close()
        [line] = frame.tenants
        assert (line.tenant, line.counts[0]) == (TENANT, 1)
        assert [(each.kind, each.number) for each in frame.outcomes] == [("cleared", 1)]
        stranger = Remote(daemon.server.urls[0], "")
        await stranger.open()
        with pytest.raises(NoDaemon, match="token"):
            await stranger.look(time())
        await stranger.close()
