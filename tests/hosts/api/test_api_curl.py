"""The README's section on the daemon is true: what it asks with curl is answered."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from serving import Daemon

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Daemon\n")[2].partition("\n## ")[0]


def asked(line: str) -> tuple[str, str, dict[str, str], str | None]:
    """What curl would send: method, address, headers and body."""
    words = iter(shlex.split(line, comments=True)[1:])
    method, url, headers, body = "GET", "", {}, None
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "--json":
                body = next(words)
                headers["Content-Type"] = headers["Accept"] = "application/json"
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case _:
                url = word
    return method, url, headers, body


async def test_each_line_is_answered(daemon: Daemon) -> None:
    names = dict(re.findall(r"^([A-Z]+)=(.*)$", SECTION, re.MULTILINE))
    text = SECTION
    for name, value in reversed(names.items()):  # ANNA is told by DAEMON
        text = text.replace(f"${name}", value)
    lines = [line for line in text.splitlines() if line.startswith("curl ")]
    assert len(lines) == 8
    for line in lines:
        method, url, headers, body = asked(line)
        path = url.removeprefix("http://127.0.0.1:8787")
        assert path.startswith("/v1/"), line
        status, answer = await daemon.ask(method, path, headers=headers, data=body)
        assert status in (200, 202), (line, answer)


async def test_what_it_names_is_there(daemon: Daemon) -> None:
    _, described = await daemon.ask("GET", "/v1/openapi.json")
    paths = set(described["paths"])
    for path in ("/healthz", "/readyz", "/metrics", "/v1/outcomes", "/v1/tenants", "/v1/sessions"):
        assert path in SECTION
        assert path in paths
