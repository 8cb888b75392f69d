"""Text that would move a cursor, forge a line or be a formula, from files and the ledger."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_runs import APP, TENANT, Cli, user
from hypothesis import given, settings
from hypothesis import strategies as st

from presence_manager import PresenceManager, Settings, SettingsError
from presence_manager.core.key import guid
from presence_manager.emulator import Emulator
from presence_manager.hosts.cli.running import Wrong, printable
from presence_manager.hosts.cli.users import LONGEST_LINE, Users
from presence_manager.hosts.shapes import of_outcome, of_session

EVIL = "\x1b[2J\x1b]0;owned\x07 \r\nforged: line\u202e\x9b31m"
ODD = st.text(
    alphabet=st.sampled_from("aZ09-,.:/=\"'[]{}#\n\r\t\0\x1b\x9b\u202e\ud800é _"), max_size=40
)


def fit(text: str) -> None:
    """Nothing but line ends leaves the line."""
    assert "\x1b" not in text
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)


@given(st.text() | ODD)
def test_whatever_is_said_stays_in_its_line(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


# -- settings ---------------------------------------------------------------------------------

NAMES = [
    *(
        "TENANT_ID",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "GRAPH__BASE_URL",
        "GRAPH__TIMEOUT",
        "GRAPH__BUDGET",
    ),
    *(
        "LEDGER__URL",
        "RETRY__ATTEMPTS",
        "SHUTDOWN__DEADLINE",
        "HOLD__LEASE",
        "LOGS__LEVEL",
        "TENANTS",
    ),
    *("TENANTS__X__CLIENT_ID", "GRAPH", "NOTHING", "GRAPH__NOTHING__X", "__", "HTTP__HOSTS"),
]
VALUE = (ODD | st.text(max_size=20) | st.integers().map(str) | st.floats().map(str)).map(
    lambda text: text.replace("\0", "").encode("utf-8", "replace").decode()
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(NAMES), VALUE | st.just(f"planted{EVIL}"), max_size=4))
def test_any_variables_are_settings_or_a_settings_error(values: Mapping[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"PRESENCE_{name}", value)
        try:
            Settings()
        except SettingsError as error:
            fit(str(error))
            assert len(str(error)) < 10_000  # noqa: PT017
            assert "planted" not in str(error) or "CLIENT_SECRET" not in values  # noqa: PT017


TOML = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=6,
)


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
    signs = (f"\\u{ord(c):04x}" if c < " " or c in '"\\\x7f' else c for c in value)
    return '"' + "".join(signs).replace("\ud800", "?") + '"'


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from([n.lower().split("__")[0] for n in NAMES]) | ODD, TOML))
def test_any_toml_is_settings_or_a_settings_error(values: dict[str, Any]) -> None:
    text = "".join(f"{toml(name)} = {toml(value)}\n" for name, value in values.items())
    file = Path(FOLDER) / "presence.toml"
    file.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRESENCE_CONFIG", str(file))
        try:
            Settings()
        except SettingsError as error:
            fit(str(error))


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_as_toml(data: bytes) -> None:
    file = Path(FOLDER) / "presence.toml"
    file.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRESENCE_CONFIG", str(file))
        try:
            Settings()
        except SettingsError as error:
            fit(str(error))


FOLDER = ""


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    globals()["FOLDER"] = str(tmp_path_factory.mktemp("toml"))


# -- users files ------------------------------------------------------------------------------

LINE = (
    st.uuids().map(str)
    | st.uuids().map(lambda each: f" {str(each).upper()}\t")
    | st.tuples(st.uuids(), st.uuids()).map(lambda pair: f"{pair[0]},{pair[1]}")
    | ODD
    | st.just("x" * (LONGEST_LINE + 1))
)


@given(st.lists(LINE, max_size=8), st.binary(max_size=40), st.booleans(), st.integers(1, 9))
def test_any_users_file_is_read_or_refused_in_a_line(
    lines: list[str], tail: bytes, only: bool, from_line: int
) -> None:
    data = "\n".join(lines).encode("utf-8", "surrogatepass") + tail
    users = Users(io.BytesIO(data), "the file", tenant=TENANT, only=only, from_line=from_line)
    try:
        users.check()
    except Wrong as error:
        fit(str(error))
        assert len(str(error)) < 500  # noqa: PT017
        assert "nothing was sent" in str(error)  # noqa: PT017
    else:
        found = list(users)
        assert len(found) == users.total == len(set(found))
        for tenant, one in found:
            assert (guid(tenant, "tenant"), guid(one, "user")) == (tenant, one)


# -- what was in the ledger, and comes out ------------------------------------------------------


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


async def test_what_stands_in_the_ledger_cannot_act_on_a_terminal(
    emulator: Emulator, tmp_path: Path
) -> None:
    cli = Cli(tmp_path, emulator)
    given = Settings(
        tenant_id=TENANT,
        client_id=APP,
        access_token=emulator.token(TENANT, APP),
        graph={"base_url": emulator.graph_url},  # type: ignore[arg-type]
        ledger={"url": f"sqlite:///{cli.ledger}"},  # type: ignore[arg-type]
    )
    presence = PresenceManager(given)
    await presence.open()
    await presence.hold(user(1), "Busy", key=f"call{EVIL}")
    (row,) = [each async for each in presence.sessions()]
    assert of_session(row)["holds"][0]["key"] == f"call{EVIL}"
    await presence.clear(user(2))
    await presence.close(sweep=False)
    with closing(sqlite3.connect(cli.ledger)) as other:
        values = dict.fromkeys(("code", "message", "request_id", "reason", "owner"), f"={EVIL}")
        sets = ", ".join(f"{name} = :{name}" for name in values)
        other.execute(f"UPDATE outcomes SET kind = 'failed', {sets}", values)
        other.execute("UPDATE sessions SET pair = ?", (f"Busy{EVIL}/In",))
        other.commit()
    commands = [
        ("sessions",),
        ("outcomes",),
        ("outcomes", "--json"),
        ("top",),
        ("outcomes", "--csv"),
    ]
    runs = await asyncio.gather(*(cli.run(*words) for words in commands))
    for run in runs:
        fit(run.out)
        fit(run.err)
        assert "\nforged" not in run.out + run.err
    listed = runs[-1].out.splitlines()
    assert len(listed) == 2
    assert ",'=" in listed[1]
    books = PresenceManager(given)
    await books.open(recover=False)
    (outcome,) = [each async for each in books.outcomes()]
    assert of_outcome(outcome)["code"] == f"={EVIL}"
    await books.close(sweep=False)
