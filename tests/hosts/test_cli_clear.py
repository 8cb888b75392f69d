"""`presence-manager clear` against an emulator, as a process."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli_runs import APP, OTHER_TENANT, SECRET, TENANT, Cli, ended, user

from presence_manager.core.key import Key, LaneId
from presence_manager.core.outcome import Kind, Outcome
from presence_manager.emulator import Emulator, Fault
from presence_manager.hosts.cli.output import FIELDS, stream_csv


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limit=1_000_000, apps={APP: SECRET}) as emulator:
        yield emulator


@pytest.fixture
def cli(tmp_path: Path, emulator: Emulator) -> Cli:
    return Cli(tmp_path, emulator)


async def test_json_says_what_the_server_saw(cli: Cli, emulator: Emulator) -> None:
    people = [user(n) for n in range(400)]
    for number, name in enumerate(people):
        if number % 50:
            emulator.put_session(TENANT, APP, name)
    emulator.add_fault(Fault(verb="batch", status=503, every=5, times=2))
    run = await cli.run("clear", "--users", cli.file(*people), "--json")
    assert (run.status, run.err) == (0, "")
    said = run.json
    assert list(said) == [
        *("ok", "sweep_id", "seconds", "requests", "refused", "counts", "outcomes")
    ]
    assert said["ok"] is True
    assert said["requests"] == emulator.operations
    assert [outcome["user"] for outcome in said["outcomes"]].sort() == people.sort()
    assert len(said["outcomes"]) == 400
    assert Counter(outcome["kind"] for outcome in said["outcomes"]) == said["counts"]
    for outcome in said["outcomes"]:
        assert tuple(outcome) == FIELDS
        assert outcome["at"].endswith("Z")
        told = [line.status for line in emulator.journal_for(outcome["user"])]
        assert outcome["status"] == told[-1]
        assert outcome["attempts"] == len(told)
        assert (told[-1] == 200) == (outcome["kind"] == "cleared")
    assert emulator.sessions() == []


async def test_people_get_a_table(cli: Cli, emulator: Emulator) -> None:
    emulator.put_session(TENANT, APP, user(1))
    run = await cli.run("clear", user(1), user(2))
    assert run.status == 0
    assert run.out.startswith("2 sessions in ")
    assert "1  cleared       Graph took the session back" in run.out
    assert "1  already_gone  Graph had no session any more" in run.out


async def test_csv_has_a_row_for_each(cli: Cli) -> None:
    run = await cli.run("clear", "--users", "-", "--csv", stdin=f"{user(1)}\n{user(2)}".encode())
    rows = list(csv.DictReader(io.StringIO(run.out)))
    assert run.status == 0
    assert [(row["user"], row["kind"]) for row in rows] == [
        (user(1), "already_gone"),
        (user(2), "already_gone"),
    ]


async def test_csv_holds_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    async def one() -> AsyncIterator[Outcome]:
        yield Outcome(
            key=Key(LaneId("o", APP, TENANT), user(1)),
            kind=Kind.FAILED,
            sweep_id="s",
            at=0.0,
            code="=cmd()",
            message="@x",
        )

    await stream_csv(one())
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (row["code"], row["message"], row["status"]) == ("'=cmd()", "'@x", "")


async def test_a_file_as_windows_writes_it(cli: Cli, emulator: Emulator, tmp_path: Path) -> None:
    lines = [user(1), "", user(2).upper(), user(1), f"{OTHER_TENANT},{user(3)}"]
    (tmp_path / "u.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    cli.environment["PRESENCE_ACCESS_TOKEN"] = ""
    cli.environment |= emulator.environment() | {
        "PRESENCE_TENANT_ID": TENANT,
        "PRESENCE_CLIENT_ID": APP,
        "PRESENCE_CLIENT_SECRET": SECRET,
    }
    run = await cli.run("clear", "--users", "u.txt", "--json")
    assert run.status == 0
    assert run.json["counts"] == {"already_gone": 3}
    assert "u.txt: 1 named more than once: each is cleared once" in run.err
    assert Counter(line.tenant for line in emulator.journal) == {TENANT: 2, OTHER_TENANT: 1}


async def test_a_bad_line_sends_nothing(cli: Cli, emulator: Emulator) -> None:
    file = cli.file(*(user(n) for n in range(2500)), "anna@example.com")
    run = await cli.run("clear", "--users", file, "--json")
    assert (run.status, run.out) == (2, "")
    assert run.err.startswith(f"presence-manager: {file}, line 2501: 'anna@example.com' is not a")
    assert run.err.count("\n") == 1
    assert (emulator.requests, cli.ledger.exists()) == (0, False)


async def test_a_dry_run_sends_and_writes_nothing(cli: Cli, emulator: Emulator) -> None:
    run = await cli.run("clear", "--users", cli.file(user(1), user(2)), "--dry-run")
    assert (run.status, run.out) == (0, f"{TENANT},{user(1)}\n{TENANT},{user(2)}\n")
    assert "2 sessions would be cleared; nothing was sent" in run.err
    run = await cli.run("clear", user(1), "--dry-run", "--json")
    assert run.json == {"dry_run": True, "users": [{"tenant": TENANT, "user": user(1)}]}
    run = await cli.run("clear", "--held", "--dry-run")
    assert (run.status, run.out) == (0, "")
    assert (emulator.requests, cli.ledger.exists()) == (0, False)


async def test_wrong_usage(cli: Cli, emulator: Emulator) -> None:
    await cli.each(
        {
            (): "who is to be cleared? Name users, or --users FILE, or --held",
            (user(1), "--held"): "only one of them",
            (user(1), "--json", "--csv"): "--json and --csv: only one of them",
            (user(1), "--from-line", "3"): "--from-line goes with --users FILE",
            (user(1), "--deadline", "soon"): "--deadline: 'soon' is not a duration; write 90s",
            (user(1), "--tenant", "contoso.com"): "--tenant: 'contoso.com' is not a tenant id",
            (user(1), "--from-line", "0"): "--from-line",
            ("--users", "missing.txt"): "--users: missing.txt cannot be read: No such file",
        },
        "clear",
    )
    assert (emulator.requests, cli.ledger.exists()) == (0, False)


async def test_wrong_settings(tmp_path: Path, emulator: Emulator) -> None:
    cases = {
        ("PRESENCE_GRAPH__BASE_URI", "x"): "did you mean PRESENCE_GRAPH__BASE_URL",
        ("PRESENCE_CLIENT_ID", ""): "client_id is not set",
        ("PRESENCE_CLIENT_ID", "x"): "client_id: 'x' is not a client id",
        ("PRESENCE_TENANT_ID", "x"): "tenant_id: 'x' is not a tenant id",
        ("PRESENCE_ACCESS_TOKEN", ""): "there is nothing to sign in with",
        ("PRESENCE_GRAPH__BASE_URL", "http://example.com"): "plain http is accepted for this",
        ("PRESENCE_GRAPH__CA_FILE", "no.pem"): "no.pem cannot be read",
        ("PRESENCE_LEDGER__URL", "sqlite:////proc/x/y.db"): "the ledger /proc/x/y.db",
    }
    runs = [Cli(tmp_path, emulator, **{name: value}).run("clear", user(1)) for name, value in cases]
    for run, says in zip(await asyncio.gather(*runs), cases.values(), strict=True):
        assert (run.status, run.out) == (2, "")
        assert says in run.err
        assert run.err.count("\n") == 1


async def test_a_file_that_is_no_ledger(cli: Cli, emulator: Emulator) -> None:
    cli.ledger.write_text("this is no ledger at all, and it shall stay as it is\n" * 50)
    run = await cli.run("clear", user(1))
    assert run.status == 2
    assert f"the ledger {cli.ledger} is not a ledger" in run.err
    assert cli.ledger.read_text().startswith("this is no ledger")
    assert emulator.requests == 0


async def test_a_wrong_secret_is_said_once(cli: Cli, emulator: Emulator) -> None:
    cli.environment |= emulator.environment() | {
        "PRESENCE_TENANT_ID": TENANT,
        "PRESENCE_CLIENT_ID": APP,
        "PRESENCE_CLIENT_SECRET": "wrong-" + SECRET[:5],
        "PRESENCE_ACCESS_TOKEN": "",
    }
    run = await cli.run("clear", "--users", cli.file(*(user(n) for n in range(30))), "--json")
    assert run.status == 3
    assert run.json["counts"] == {"failed": 30}
    assert "none of the 30 sessions could be cleared: the sign-in to tenant" in run.err
    assert "PRESENCE_CLIENT_SECRET" in run.err
    assert run.err.count("AADSTS") == 1
    assert "wrong-" not in run.err + run.out
    assert emulator.operations == 0


async def test_nobody_there_is_said_once(cli: Cli) -> None:
    cli.environment |= {
        "PRESENCE_GRAPH__BASE_URL": "http://127.0.0.1:1",
        "PRESENCE_RETRY__ATTEMPTS": "2",
    }
    run = await cli.run("clear", "--users", cli.file(*(user(n) for n in range(30))))
    assert run.status == 1
    told = [line for line in run.err.splitlines() if "127.0.0.1:1" in line]
    assert len(told) == 1
    assert "none of the 30 sessions could be cleared: no connection to 127.0.0.1:1" in told[0]
    assert "`presence-manager recover` tries it again" in run.err


async def test_a_wrong_authority_is_said_once(tmp_path: Path) -> None:
    async with Emulator(tls=True) as emulator, Emulator(tls=True) as another:
        cli = Cli(tmp_path, emulator)
        cli.environment |= {
            "PRESENCE_GRAPH__CA_FILE": another.ca_file,
            "PRESENCE_RETRY__ATTEMPTS": "2",
        }
        run = await cli.run("clear", user(1), user(2))
        assert run.status == 1
        assert run.err.count("is not trusted") == 1
        assert "graph.ca_file" in run.err


async def test_a_deadline_leaves_the_rest(cli: Cli, emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="any", effect="hang"))
    run = await cli.run("clear", user(1), user(2), "--deadline", "1.5s", "--json")
    assert run.status == 1
    assert run.json["counts"] == {"unfinished": 2}
    assert run.json["ok"] is False
    assert "the deadline came first" in run.err
    emulator.clear_faults()
    run = await cli.run("recover", "--json")
    assert run.status == 0
    assert sum(run.json["counts"].values()) == 2
    assert (await cli.run("sessions", "--json")).json["sessions"] == []


async def test_a_denial_says_what_graph_said(cli: Cli, emulator: Emulator) -> None:
    emulator.add_fault(Fault(verb="clear", status=403, code="Forbidden"))
    run = await cli.run("clear", user(1), user(2))
    assert run.status == 1
    assert run.err.count("Graph answered 403 Forbidden") == 1
    assert "Presence.ReadWrite.All" in run.err


async def test_in_memory_and_nothing_kept(cli: Cli, emulator: Emulator) -> None:
    cli.environment["PRESENCE_LEDGER__URL"] = "memory://"
    emulator.put_session(TENANT, APP, user(1))
    run = await cli.run("clear", user(1), "--json")
    assert (run.status, run.json["outcomes"][0]["kind"]) == (0, "cleared")


async def test_strangers_bring_a_question(cli: Cli) -> None:
    run = await cli.run("clear", "--users", cli.file(*(user(n) for n in range(20))))
    assert run.status == 0
    assert "is this the application that set them?" in run.err


async def test_who_reads_no_more_breaks_nothing(cli: Cli, emulator: Emulator) -> None:
    file = cli.file(*(user(n) for n in range(2000)))
    async with cli.start("clear", "--users", file, "--json") as process:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b'{"ok": true')
        process.stdout._transport.close()  # type: ignore[attr-defined]
        run = await ended(process)
    assert run.status == 0
    assert len(emulator.journal) == 2000
