"""The page over HTTP: without a token, with its policy, and not sent twice."""

from __future__ import annotations

import pytest
from serving import PROBLEM, serving, settings_for

from presence_manager.emulator import Emulator
from presence_manager.hosts.page import POLICY


async def test_it_is_served_to_all_and_says_nothing(emulator: Emulator) -> None:
    async with serving(settings_for(emulator, http={"token": "t" * 40})) as daemon:
        for path, kind in {
            "/": "text/html",
            "/page/main.js": "text/javascript",
            "/page/style.css": "text/css",
            "/page/icon.svg": "image/svg+xml",
        }.items():
            async with daemon.client.get(path) as answer:
                assert answer.status == 200
                assert answer.content_type == kind
                assert answer.headers["Content-Security-Policy"] == POLICY
                assert answer.headers["Cache-Control"] == "no-cache"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                tag = answer.headers["ETag"]
            async with daemon.client.get(path, headers={"If-None-Match": tag}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
                assert answer.headers["ETag"] == tag
            async with daemon.client.get(path, headers={"If-None-Match": '"other"'}) as answer:
                assert answer.status == 200
            async with daemon.client.head(path) as answer:
                assert answer.status == 200
        headers = {"Host": "evil.example"}
        assert (await daemon.ask("GET", "/", headers=headers))[1]["type"] == PROBLEM + "wrong-host"


@pytest.mark.parametrize(
    "path", ["/page/", "/page/__init__.py", "/page/..%2fapi/app.py", "/page/index.html", "/page/x"]
)
async def test_there_is_nothing_else(emulator: Emulator, path: str) -> None:
    async with serving(settings_for(emulator)) as daemon:
        status, problem = await daemon.ask("GET", path)
        assert (status, problem["type"]) == (404, PROBLEM + "not-found")
        assert (await daemon.ask("POST", "/", {}))[0] == 405
