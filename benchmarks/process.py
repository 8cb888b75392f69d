"""The server and the contenders as processes of their own, each on its own core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
PATIENCE = 900.0
"""Seconds after which a contender is given up."""


class Failed(Exception):
    """A contender raised, or did not come to an end."""


def cores() -> tuple[int | None, int | None]:
    """Return the contender's core and the server's; None where they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    ours = sorted(os.sched_getaffinity(0))
    return (ours[0], ours[1]) if len(ours) > 1 else (None, None)


def environment() -> dict[str, str]:
    """Return the environment of every process: no settings from outside."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("PRESENCE_", "AZURE_"))
    }
    return kept | {"PYTHONPATH": str(ROOT)}


class GraphServer:
    """The server, from entering to leaving the block."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.server"]
        core = cores()[1]
        if core is not None:
            command += ["--core", str(core)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # it ends with its standard input

    def begin(self, plan: Mapping[str, Any], users: int, tenants: int = 1) -> None:
        """Begin a new run."""
        self._call("configure", plan)
        if users:
            self._call("sessions", {"users": users, "tenants": tenants})

    def counters(self) -> dict[str, Any]:
        """Return what it counted since the run began."""
        return self._call("counters")

    def truth(self) -> dict[str, Any]:
        """Return the counters, and what happened to each user."""
        return self._call("truth")

    def _call(self, what: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = None if given is None else json.dumps(given).encode()
        with urlopen(Request(f"{self.url}/control/{what}", data=body), timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def run(module: str, given: Mapping[str, Any], *, killed: bool = False) -> dict[str, Any]:
    """Run one contender to its end; return its line of JSON. Raises Failed.

    With `killed` it ends by killing itself, which is no failure.
    """
    command = [sys.executable, "-m", module, json.dumps({**given, "core": cores()[0]})]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            cwd=ROOT,
            env=environment(),
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"no end within {PATIENCE:g} s") from None
    lines = ended.stdout.splitlines()
    if not lines or (ended.returncode != 0 and not killed):
        errors = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise Failed(errors[-1][:300])
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def in_memory(folder: str) -> bool:
    """Whether the folder lies on a file system that is memory only, where that can be known."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8")
    except OSError:
        return False
    kinds = {line.split()[1]: line.split()[2] for line in mounts.splitlines()}
    for parent in (Path(folder).resolve(), *Path(folder).resolve().parents):
        if str(parent) in kinds:
            return kinds[str(parent)] in ("tmpfs", "ramfs")
    return False


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for one ledger, below TMPDIR, that goes with its block."""
    return tempfile.TemporaryDirectory(prefix="presence-bench-")
