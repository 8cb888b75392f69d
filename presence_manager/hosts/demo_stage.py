"""The stage of the demo: its processes, its folder, and a way to talk to the emulator."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

PATIENCE = 90.0
"""Seconds after which the demo ends whatever happens."""


class Failed(Exception):
    """The demo did not go as it should; the text says at which point."""


class Child:
    """A process of the demo: it is told a line, and answers with JSON lines."""

    def __init__(self, role: str, environment: dict[str, str], errors: IO[bytes]) -> None:
        self.role = role
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "presence_manager.hosts.demo_child", role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its children itself
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, *words: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(" ".join(words) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Failed(f"the process {self.role!r} has ended") from None

    def hear(self, *events: str) -> dict[str, Any]:
        """Wait for its next line, which must be one of these events."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"the process {self.role!r} has ended")
        answer: dict[str, Any] = json.loads(line)
        if answer["event"] not in events:
            raise Failed(f"the process {self.role!r} said {answer['event']!r}, not {events[0]!r}")
        return answer

    def ask(self, *words: str, event: str) -> dict[str, Any]:
        """Send it a line and wait for the answer."""
        self.tell(*words)
        return self.hear(event)

    def kill(self) -> None:
        """End it at once: SIGKILL, which no process can see coming."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End it, if it still runs, and close the pipes."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue


class Stage:
    """Where the demo plays. Leaving it ends every process and removes the folder."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="presence-demo-")
        self._errors = (Path(self._folder.name) / "errors.txt").open("w+b")
        self._children: list[Child] = []
        self._watchdog = threading.Timer(PATIENCE, self._end_all)
        self._watchdog.daemon = True
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PRESENCE_", "AZURE_"))}
        # What the processes write to disk goes with the folder, however they end.
        self._environment = kept | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._folder.name)
        self._environment["PRESENCE_LEDGER__URL"] = f"sqlite:///{self.ledger.as_posix()}"
        self._tls: ssl.SSLContext | None = None
        self.url = ""
        self.client_id = ""

    def __enter__(self) -> Self:
        self._watchdog.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watchdog.cancel()
        self._end_all()
        self._errors.close()
        self._folder.cleanup()

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return Path(self._folder.name) / "ledger.db"

    def start_graph(self) -> None:
        """Start the emulator, and point everything that is started later to it."""
        ready = self._start("graph").hear("ready")
        self.url = ready["url"]
        self.client_id = ready["environment"]["PRESENCE_CLIENT_ID"]
        self._environment |= ready["environment"]
        self._tls = ssl.create_default_context(
            cafile=ready["environment"]["PRESENCE_GRAPH__CA_FILE"]
        )

    def start_bot(self, **settings: str) -> Child:
        """Start a process that holds users."""
        self._environment |= settings
        child = self._start("bot")
        child.hear("ready")
        return child

    def graph(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the emulator's control endpoints; nothing of Graph itself."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/_emulator/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        try:
            with opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except OSError as error:
            raise Failed(f"the emulator does not answer: {error}") from None

    def errors(self) -> str:
        """The last of what the processes complained of."""
        self._errors.flush()
        return Path(self._errors.name).read_text(errors="replace")[-3000:].strip()

    def _start(self, role: str) -> Child:
        child = Child(role, self._environment, self._errors)
        self._children.append(child)
        return child

    def _end_all(self) -> None:
        for child in self._children:
            child.end()
