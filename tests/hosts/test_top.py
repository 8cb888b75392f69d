"""`presence-manager top`: frames of a ledger, on a terminal and without one."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runs import APP, OTHER_TENANT, PYTHON, SECRET, TENANT, Cli, until, user
from doctor_rounds import complaints
from rich.console import Console

from presence_manager import Settings
from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.core.pair import PAIRS
from presence_manager.core.session import Known, Session, Step, Wish
from presence_manager.hosts.cli.running import Wrong
from presence_manager.hosts.cli.top import Asked, token_of, top, url_of
from presence_manager.hosts.top.books import Books
from presence_manager.hosts.top.frame import Frame, OutcomeLine, TenantLine
from presence_manager.hosts.top.screen import drawn
from presence_manager.ledger import MemoryLedger, SqliteLedger
from presence_manager.ports import Budget, Draw, Ledger

ORIGIN = "https://graph.microsoft.com"
ONE, TWO = LaneId(ORIGIN, APP, TENANT), LaneId(ORIGIN, APP, OTHER_TENANT)
NOW = 1_800_000_000.0
SETTINGS = Settings(tenant_id=TENANT, client_id=APP, client_secret=SECRET)


def row(number: int, lane: LaneId = ONE, *, held: bool = True, **fields: object) -> Session:
    wish = Wish(name="w", owner="me", pair=PAIRS[1], lease=600.0, made_at=NOW)
    given: dict[str, object] = {"known": Known.SHOWN, "pair": PAIRS[1], "due": NOW + 300} | fields
    wishes = (wish,) if held else ()
    return Session(key=Key(lane, user(number)), version=1, wishes=wishes, **given)  # type: ignore[arg-type]


async def write(ledger: Ledger, number: int, *kinds: tuple[Kind, float]) -> None:
    """Write an outcome of each kind, at this instant."""
    for place, (kind, at) in enumerate(kinds):
        key = Key(ONE, user(number))
        outcome = Outcome(key=key, kind=kind, sweep_id=f"{number}-{place}", at=at)
        await ledger.put([Step(0, Session(key=key, version=1), (outcome,), delete=True)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(params=["sqlite", "memory"])
async def ledger(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Ledger]:
    ledger: Ledger = MemoryLedger() if request.param == "memory" else SqliteLedger(path)
    await ledger.open()
    yield ledger
    await ledger.close()


async def test_a_frame_of_a_ledger(ledger: Ledger) -> None:
    rows = [
        row(1, due=NOW + 59),
        row(2, due=NOW + 61),
        row(3, known=Known.ABSENT, pair=None),
        row(4, known=Known.UNSURE),
        row(5, held=False),
        row(6, held=False, known=Known.ABSENT, pair=None),
        row(1, TWO, pair=PAIRS[3]),
        row(1, LaneId("https://emulator", APP, TENANT)),
    ]
    await ledger.put([Step(0, each, wishes=True) for each in rows])
    await ledger.draw(TWO, "me", Draw(now=NOW, want=7, limit=100, until=NOW + 9))
    ahead = NOW + 86_400.0  # on the clock of who wrote it
    await ledger.save_budget(TWO, Budget(proven=80, closed_until=ahead + 25, closed_at=ahead))
    await ledger.enter("me")
    frame = await Books(ledger, SETTINGS, "x.db").look(NOW)
    assert frame.columns == ("held", "not yet shown", "not certain", "to clear", "due in 60 s")
    assert frame.tenants == (
        TenantLine(TENANT, (4, 1, 1, 1, 1), 0, 1500, 0.0),
        TenantLine(OTHER_TENANT, (1, 0, 0, 0, 0), 7, 80, 25.0),
    )
    assert frame.about == "1 process alive, 1 left alone, of another application or Graph"
    assert frame.shown == {"Busy/InACall": 3, "Away/Away": 1}
    # Looking has taken nothing.
    share = await ledger.draw(TWO, "you", Draw(now=NOW))
    assert share.others == ((NOW + 9, 7),)


async def test_outcomes_of_the_last_minutes_are_read_once(ledger: Ledger) -> None:
    books = Books(ledger, SETTINGS, "x.db")
    await write(ledger, 1, (Kind.CLEARED, NOW - 301), (Kind.CLEARED, NOW - 299))
    await write(ledger, 2, (Kind.UNFINISHED, NOW - 30), (Kind.CLEARED, NOW - 59))
    frame = await books.look(NOW)
    assert frame.counted == "last 5 min"
    assert set(frame.outcomes) == {
        OutcomeLine("cleared", 2, 1 / 60),
        OutcomeLine("unfinished", 1, 1 / 60),
    }
    await write(ledger, 3, *[(Kind.CLEARED, NOW + 1)] * 5)
    frame = await books.look(NOW + 2)
    assert frame.outcomes[0] == OutcomeLine("cleared", 6, 5 / 60)
    assert (await books.look(NOW + 400)).outcomes == ()


def text(frame: Frame, height: int | None) -> list[str]:
    screen = Console(width=160, no_color=True)
    with screen.capture() as captured:
        screen.print(drawn(frame, NOW, height, "the ledger is locked"))
    return captured.get().splitlines()


def test_a_frame_fits_the_screen() -> None:
    lines = tuple(TenantLine(f"t{n:03}", (n, 1), n, None, 0.5 * (n == 3)) for n in range(500))
    outcomes = (OutcomeLine("cleared", 12_345, 99.5), OutcomeLine("failed", 1, 0.0))
    frame = Frame(
        source="ledger x",
        about="2 processes alive",
        columns=("held", "due"),
        tenants=lines,
        counted="last 5 min",
        outcomes=outcomes,
        shown={"Busy/InACall": 7},
    )
    for height in (24, 50):
        shown = text(frame, height)
        assert len(shown) <= height
        assert shown[-1].startswith("q quits")
        assert any("more" in line for line in shown)
    whole = "\n".join(text(frame, None))
    for said in (
        *("the ledger is locked", "all 500", "124,750", "t499", "1 closed"),
        *("12,345", "99.5", "Busy/InACall 7"),
    ):
        assert said in whole


# -- in a process ----------------------------------------------------------------------------


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path, PRESENCE_CLIENT_ID=APP)


async def test_without_a_terminal_it_prints_one_frame(cli: Cli) -> None:
    ledger = SqliteLedger(cli.ledger)
    await ledger.open()
    await ledger.put([Step(0, row(1), wishes=True)])
    await ledger.close()
    run = await cli.run("top")
    assert (run.status, complaints(run)) == (0, [])
    assert re.search(rf"{TENANT}\s+1\s+0\s+0\s+0\s+0\s+0 of 1,500\s+open", run.out)
    assert "\x1b" not in run.out
    assert "q quits" not in run.out


async def test_what_cannot_be_watched(cli: Cli) -> None:
    await cli.each(
        {
            (): f"there is no ledger at {cli.ledger} yet",
            ("--url", "unix:/nowhere/sock"): "is the daemon running there?",
        },
        "top",
    )
    cli.environment["PRESENCE_LEDGER__URL"] = "memory://"
    await cli.each({(): "--url asks a daemon"}, "top")
    assert not cli.ledger.exists()


def test_what_is_not_understood(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    asked = Asked(url=None, token_file=str(tmp_path / "token"), interval="2s", once=True)
    with pytest.raises(Wrong, match="name it with --url"):
        top(asked)
    with pytest.raises(Wrong, match="--interval: 'soon' is not a duration"):
        top(replace(asked, interval="soon"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("127.0.0.1:8787", "write http://127.0.0.1:8787"),
        ("ftp://127.0.0.1", "write http://127.0.0.1:8787"),
        ("http://127.0.0.1:99999", "write http://127.0.0.1:8787"),
        ("https://a.example/path", "write http://127.0.0.1:8787"),
        ("https://user:pw@a.example", "write http://127.0.0.1:8787"),
        ("http://a.example", "plain http is accepted for this machine only"),
    ],
)
def test_where_no_daemon_is_looked_for(text: str, says: str) -> None:
    with pytest.raises(Wrong, match=says):
        url_of(text)


def test_where_one_is() -> None:
    for text in ("http://127.0.0.1:8787", "https://a.example", "unix:/run/x.sock", "http://[::1]"):
        assert url_of(f" {text}/ ") == text


@pytest.mark.parametrize("content", ["", "two words", "a\x1bb", "ä", "x" * 9000, "one\ntwo"])
def test_a_token_file_holds_one_token(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(Wrong, match="must hold one token") as error:
        token_of(str(file))
    assert content[:5] not in str(error.value) or not content
    file.write_text(" abc-def\n", encoding="utf-8")
    assert token_of(str(file)) == "abc-def"
    with pytest.raises(Wrong, match="cannot be read"):
        token_of(str(tmp_path))


class Terminal:
    """A terminal with the command in it; `seen` is all that was written to it."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.master = master
        self.seen = ""

    def read(self) -> None:
        try:
            self.seen += os.read(self.master, 1 << 16).decode("utf-8", "replace")
        except OSError:  # nobody has it open any more
            asyncio.get_running_loop().remove_reader(self.master)

    async def shows(self, pattern: str) -> None:
        await until(lambda: re.search(pattern, self.seen))

    async def status(self) -> int:
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def terminal(cli: Cli, *words: str) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    cli.environment |= {"TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
    process = await asyncio.create_subprocess_exec(
        *(*PYTHON, *words),
        cwd=cli.folder,
        env=cli.environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = Terminal(process, master)
    asyncio.get_running_loop().add_reader(master, shown.read)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("end", ["q", signal.SIGINT])
async def test_on_a_terminal_it_goes_on_until_it_is_ended(cli: Cli, end: str | int) -> None:
    ledger = SqliteLedger(cli.ledger)
    await ledger.open()
    async with terminal(cli, "top", "--interval", "0.5s") as shown:
        await shown.shows("0 processes alive")
        assert "q quits" in shown.seen
        await ledger.put([Step(0, row(n), wishes=True) for n in range(7)])
        await ledger.enter("me")
        await write(ledger, 99, (Kind.FAILED, time.time()))
        await shown.shows("1 process alive")
        await shown.shows(rf"{TENANT}\s+7 ")
        await shown.shows("failed")
        if isinstance(end, str):
            os.write(shown.master, end.encode())
        else:
            shown.process.send_signal(end)
        assert await shown.status() == 0
        await shown.shows(r"\x1b\[\?1049l")  # the screen is as it was before
        assert "Traceback" not in shown.seen
    await ledger.close()
