"""Runs the doctor's checks in this process, against real sockets, and finds what they found."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from cli_runs import APP, SECRET, TENANT, Run

from presence_manager import Settings
from presence_manager.emulator import Emulator
from presence_manager.hosts.doctor.examine import Ask, examine
from presence_manager.hosts.doctor.finding import Finding, State
from presence_manager.ledger import open_ledger

Findings = dict[str, Finding]


def settings_of(emulator: Emulator, folder: Path, **given: Any) -> Settings:
    """Settings for an emulator that knows the application, with a secret unless told otherwise."""
    graph = {
        "base_url": emulator.graph_url,
        "authority": emulator.authority_url,
        "ca_file": emulator.ca_file,
        **given.pop("graph", {}),
    }
    given.setdefault("ledger", {"url": f"sqlite:///{folder / 'ledger.db'}"})
    if "access_token" not in given:
        given.setdefault("client_secret", SECRET)
    return Settings(**{"tenant_id": TENANT, "client_id": APP, "graph": graph, **given})


async def look(found: Settings, ask: Ask | None = None) -> Findings:
    """Go through all checks; of several with one name, the last."""
    findings: Findings = {}
    async with (
        asyncio.timeout(60),
        aclosing(examine(found, ask or Ask(), lambda: open_ledger(found.ledger.url))) as all_of,
    ):
        async for finding in all_of:
            findings[finding.name] = finding
            assert finding.says, finding
            assert finding.do or finding.state in (State.OK, State.SKIPPED), finding
            for text in (finding.says, finding.do):
                assert text.isprintable(), finding
                assert "eyJ" not in text, finding
                assert SECRET not in text, finding
    return findings


def states(findings: Findings) -> dict[str, str]:
    """What is not well."""
    return {name: str(f.state) for name, f in findings.items() if f.state is not State.OK}


def jwt(**claims: object) -> str:
    """A token that says this of itself; no Graph takes it."""
    parts = ({"alg": "none"}, claims)
    text = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return ".".join([part.decode() for part in text] + ["c2lnbmF0dXJl"])


@asynccontextmanager
async def server(
    answer: bytes | Callable[[bytes], Awaitable[bytes]],
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that writes these bytes to whoever asks; yields its origin and what was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer if isinstance(answer, bytes) else await answer(asked[-1]))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


def complaints(run: Run) -> list[str]:
    """What a command said on stderr, but for asyncio's word on a busy machine."""
    return [line for line in run.err.splitlines() if not line.startswith("Executing <")]
