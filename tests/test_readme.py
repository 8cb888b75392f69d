"""The README is true: its programs run, its commands, variables, names and links exist."""

from __future__ import annotations

import ast
import asyncio
import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
from aiohttp.test_utils import TestClient, TestServer

from presence_manager import PresenceManager, Settings, errors
from presence_manager.core.outcome import Kind
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Known
from presence_manager.emulator import Emulator
from presence_manager.hosts.cli.app import app
from presence_manager.hosts.cli.running import Status
from presence_manager.ledger import SqliteLedger
from presence_manager.ports import Scope

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in BLOCKS if language == "sh"]
MAIN, FRAGMENTS, AIOHTTP, ASGI, DAEMON = PYTHON
VARIABLES = {setting.variable for setting in Settings.model_construct().describe()}
# A command in a shell block, to the end of its line, or between backticks.
COMMANDS = [
    line.partition("#")[0].split()[1:]
    for text in (*SHELL, *re.findall(r"`([^`\n]+)`", TEXT))
    for line in text.splitlines()
    if line.startswith("presence-manager ")
]


def user(number: int) -> str:
    return f"5e000000-0000-4000-8000-{number:012x}"


def environment(emulator: Emulator, folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    ledger = {"PRESENCE_LEDGER__URL": f"sqlite:///{folder / 'quickstart.db'}"}
    return kept | emulator.environment() | ledger


async def run(emulator: Emulator, folder: Path, *words: str) -> tuple[int | None, str, str]:
    """Run Python with these arguments as somebody who follows the README; status, out, err."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", *words),
        env=environment(emulator, folder),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert "Traceback" not in err.decode(), err.decode()
    return process.returncode, out.decode(), err.decode()


async def test_the_quickstart_prints_what_is_said_below_it(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(MAIN, encoding="utf-8")
    async with Emulator() as emulator:
        status, out, err = await run(emulator, tmp_path, "bot.py")
        assert status == 0, err
        assert emulator.sessions() == []
        assert {entry.user for entry in emulator.journal} == {user(1), user(2)}
    said = next(text for language, text in BLOCKS if language == "text")
    assert out.splitlines() == said.splitlines()


async def test_the_crash_of_the_quickstart_is_recovered_from(tmp_path: Path) -> None:
    crash, count = re.subn(r"print\(.*\)", "os._exit(1)", MAIN, count=1)
    assert count
    (tmp_path / "bot.py").write_text(f"import os\n{crash}", encoding="utf-8")
    command = ("-m", "presence_manager")
    async with Emulator() as emulator:
        assert (await run(emulator, tmp_path, "bot.py"))[0] == 1
        assert [each.user for each in emulator.sessions()] == [user(1)]
        assert user(1) in (await run(emulator, tmp_path, *command, "sessions", "--json"))[1]
        status, out, err = await run(emulator, tmp_path, *command, "recover")
        assert status == 0, err
        assert "cleared" in out
        assert emulator.sessions() == []
        assert user(1) in (await run(emulator, tmp_path, *command, "outcomes", "--json"))[1]


def enter(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def executed(program: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(program, "README.md", "exec"), names)
    return names


async def test_the_fragments_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Emulator() as emulator:
        enter(environment(emulator, tmp_path), monkeypatch)
        users = [user(number) for number in range(3, 8)]
        async with PresenceManager(Settings()) as presence:
            names: dict[str, Any] = {"presence": presence, "user": user(9), "users": users}
            code = compile(FRAGMENTS, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            await eval(code, names)
            assert names["report"].ok
            assert names["outcome"].kind is Kind.CLEARED
            assert emulator.sessions() == []
    assert "True {" in capsys.readouterr().out


async def test_the_aiohttp_application_holds_and_clears_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator() as emulator:
        enter(environment(emulator, tmp_path), monkeypatch)
        names = executed(AIOHTTP)
        activity = {
            "from": {"aadObjectId": user(1)},
            "conversation": {"id": "call-17"},
            "channelData": {"tenant": {"id": Settings().tenant_id}},
        }
        async with TestClient(TestServer(names["app"])) as client:
            answer = await client.post("/call-started", json=activity)
            assert answer.status == 200
            assert [each.user for each in emulator.sessions()] == [user(1)]
        assert emulator.sessions() == []


async def test_the_asgi_application_holds_and_clears_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Emulator() as emulator:
        enter(environment(emulator, tmp_path), monkeypatch)
        app = executed(ASGI)["app"]
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app):
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                answer = await client.put(f"/calls/call-17/{user(1)}")
                assert answer.json() == "shown"
            assert [each.user for each in emulator.sessions()] == [user(1)]
        assert emulator.sessions() == []


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM is no request there")
async def test_the_daemon_clears_when_it_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON, encoding="utf-8")
    ledger = SqliteLedger(tmp_path / "quickstart.db")
    await ledger.open()
    async with Emulator() as emulator:
        app = emulator.environment()["PRESENCE_CLIENT_ID"]
        everything = Scope(origin=emulator.graph_url, app=app)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-W", "error", "daemon.py"),
            env=environment(emulator, tmp_path),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                while process.returncode is None:
                    rows = await ledger.page(everything, None, 10)
                    if [row.known for row in rows] == [Known.SHOWN]:
                        break
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.05)  # until `hold` has returned, too
                process.terminate()
                _, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
            await ledger.close()
        assert process.returncode == 0, err.decode()
        assert "Traceback" not in err.decode()
        assert {entry.user for entry in emulator.journal} == {user(1)}
        assert emulator.sessions() == []


def test_every_setting_named_exists() -> None:
    named = set(re.findall(r"\bPRESENCE_[A-Z_]*[A-Z]\b", TEXT))
    assert named - VARIABLES == {"PRESENCE_CONFIG"}
    for name in re.findall(r"\bAZURE_\w+", TEXT):
        assert name in (ROOT / "presence_manager/settings/sources.py").read_text(encoding="utf-8")


def test_the_defaults_in_the_table_are_those_of_the_settings() -> None:
    described = {each.variable: each for each in Settings.model_construct().describe()}
    rows = re.findall(r"^\| `(PRESENCE_\w+)` \|.*\| (.*) \|$", TEXT, re.MULTILINE)
    assert len(rows) > 10
    for name, said in rows:
        default = described[name].default
        if default == "":
            assert said in ("none", "a file in the user's state folder"), name
        elif isinstance(default, str):
            assert said.strip("`") == default, name
        else:
            assert float(said) == default, name


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_named_exists(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    known = {option for each in command.params for option in each.opts}
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is not None:
            command = inner
            known = {option for each in command.params for option in each.opts}
        elif word.startswith("--"):
            assert word in known | {"--help"}
        else:  # an argument, or the value of an option
            placeholder = word == "COMMAND"
            assert placeholder or not hasattr(command, "commands"), f"no such command: {word}"


def test_all_commands_are_named() -> None:
    there = set(typer.main.get_command(app).commands)
    assert there == {words[0] for words in COMMANDS if not words[0].startswith("--")}


def test_the_commands_said_to_take_json_are_those_that_do() -> None:
    (sentence,) = re.findall(r"([^.]*) take `--json`\.", TEXT)
    said = set(re.findall(r"`([a-z ]+)`", sentence))
    found = set()
    for name, command in typer.main.get_command(app).commands.items():
        inner = {f"{name} {k}": v for k, v in getattr(command, "commands", {}).items()}
        for path, each in (inner or {name: command}).items():
            found |= {path for option in each.params if "--json" in option.opts}
    assert said == found


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"\b(presence_manager(?:\.\w+)+)", "".join((TEXT, *PYTHON)))))
)
def test_every_dotted_name_exists(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_every_error_named_exists() -> None:
    (paragraph,) = re.findall(r"^Errors: .*?\n\n", TEXT, re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`([A-Z]\w+)`", paragraph):
        assert issubclass(getattr(errors, name), errors.PresenceError)


def test_outcomes_exit_statuses_and_pairs_are_all_there() -> None:
    rows = re.findall(r"^\| `?(\w+)`? \|", TEXT, re.MULTILINE)
    assert [row for row in rows if row in set(Kind)] == list(Kind)
    assert [int(row) for row in rows if row.isdecimal()] == list(Status)
    assert ", ".join(map(str, PAIRS)) in " ".join(TEXT.split())


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_every_file_that_is_linked_exists(target: str) -> None:
    assert (ROOT / target).is_file()


def test_every_heading_that_is_linked_exists() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"^make (\w+)", "\n".join(SHELL), re.MULTILINE)
    assert named
    assert set(named) <= targets
