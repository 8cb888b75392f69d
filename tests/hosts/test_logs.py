"""Logs: one line for each event, no secret, nothing forged, users hashed on request."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from presence_manager.hosts.logs import MASK, clean, configure, hashed
from presence_manager.settings import LogSettings

USER = "0f8fad5b-d9cb-469f-a165-70867728950e"
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SECRET = "s3cr3t-that-must-not-leak"
TOKEN = "eyJhbGciOiJub25lIn0.eyJvaWQiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"

Start = Callable[..., io.StringIO]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def start() -> Iterator[Start]:
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def run(stream: io.StringIO | None = None, **values: Any) -> io.StringIO:
        stream = stream or io.StringIO()
        configure(LogSettings(**values), stream)
        return stream

    yield run
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestForm:
    def test_json_with_level_and_time_in_utc(self, start: Start) -> None:
        stream = start()
        structlog.get_logger().bind(tenant=TENANT).info("lane.refused", status=429, after=1.5)
        [line] = lines(stream)
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "lane.refused",
            "level": "info",
            "tenant": TENANT,
            "status": 429,
            "after": 1.5,
        }

    def test_console_on_a_terminal(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        stream = start(Terminal())
        structlog.get_logger().info("sweep.done", cleared=3)
        assert "\x1b[" in stream.getvalue()
        monkeypatch.setenv("NO_COLOR", "1")
        stream = start(Terminal())
        structlog.get_logger().info("sweep.done", cleared=3)
        assert "\x1b[" not in stream.getvalue()
        assert "cleared=3" in stream.getvalue()
        assert stream.getvalue().count("\n") == 1

    def test_the_format_that_is_asked_for(self, start: Start) -> None:
        stream = start(Terminal(), format="json")
        structlog.get_logger().info("a")
        assert lines(stream)
        stream = start(format="console")
        structlog.get_logger().info("a", n=1)
        assert "n=1" in stream.getvalue()

    @pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
    def test_the_least_level(self, start: Start, level: str) -> None:
        stream = start(level=level)
        log = structlog.get_logger()
        names = ["debug", "info", "warning", "error"]
        for name in names:
            getattr(log, name)(name)
            getattr(logging.getLogger("somebody"), name)(name)
        wanted = names[names.index(level) :]
        assert [line["event"] for line in lines(stream)] == [n for n in wanted for _ in "xx"]

    def test_loggers_made_before_follow_and_the_last_call_counts(self, start: Start) -> None:
        log = structlog.get_logger()
        first = start()
        log.info("a")
        second = start()
        log.info("b")
        logging.getLogger("x").warning("c")
        assert [line["event"] for line in lines(first)] == ["a"]
        assert [line["event"] for line in lines(second)] == ["b", "c"]

    def test_what_is_bound_to_the_context(self, start: Start) -> None:
        stream = start()
        with structlog.contextvars.bound_contextvars(sweep="s", access_token=SECRET):
            structlog.get_logger().info("a")
            logging.getLogger("x").warning("b")
        assert [(line["sweep"], line["access_token"]) for line in lines(stream)] == [
            ("s", MASK),
            ("s", MASK),
        ]

    def test_stderr_is_where_it_goes(
        self, start: Start, capsys: pytest.CaptureFixture[str]
    ) -> None:
        start()
        configure(LogSettings())
        structlog.get_logger().info("a")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert json.loads(captured.err)["event"] == "a"


class TestOthers:
    def test_the_standard_library_is_bridged(self, start: Start) -> None:
        stream = start()
        logging.getLogger("aiohttp.server").error("Error handling %s", "request")
        [line] = lines(stream)
        assert (line["event"], line["level"], line["logger"]) == (
            "Error handling request",
            "error",
            "aiohttp.server",
        )

    @pytest.mark.parametrize("name", ["msal.application", "urllib3.connectionpool", "asyncio"])
    def test_the_talkative_ones_only_warn(self, start: Start, name: str) -> None:
        stream = start(level="debug")
        logging.getLogger(name).debug("POST /token?client_secret=%s", SECRET)
        logging.getLogger(name).info("a")
        logging.getLogger(name).warning("b")
        assert [line["event"] for line in lines(stream)] == ["b"]

    def test_their_messages_are_cleaned(self, start: Start) -> None:
        stream = start()
        logging.getLogger("aiohttp").warning("GET https://u:%s@host/?token=%s", SECRET, SECRET)
        assert SECRET not in stream.getvalue()


class TestSecrets:
    @pytest.mark.parametrize(
        "values",
        [
            {"client_secret": SECRET},
            {"access_token": SECRET},
            {"Authorization": f"Bearer {SECRET}"},
            {"password": SECRET.encode()},
            {"settings": {"client_secret": SECRET}},
            {"headers": [{"Set-Cookie": SECRET}]},
            {"text": f"Authorization: Bearer {SECRET}"},
            {"text": f"bearer%20{SECRET}"},
            {"text": f"POST /token client_secret={SECRET}&scope=x"},
            {"text": f'{{"access_token": "{SECRET}", "expires_in": 3599}}'},
            {"text": f"{{'client_assertion': '{SECRET}'}}"},
            {"text": f"https://user:{SECRET}@host/path"},
            {"secret": SecretStr(SECRET)},
            {"value": SecretStr(SECRET)},
            {"error": ValueError(f"password={SECRET}")},
        ],
    )
    def test_none_leaves(self, start: Start, values: dict[str, Any]) -> None:
        stream = start()
        structlog.get_logger().info("a", **values)
        assert lines(stream)
        assert SECRET not in stream.getvalue()

    def test_a_token_anywhere(self, start: Start) -> None:
        stream = start()
        structlog.get_logger().info(f"got {TOKEN}", what=("x", {"y": TOKEN}))
        assert "eyJ" not in stream.getvalue()

    @pytest.mark.parametrize("form", ["json", "console"])
    def test_a_traceback_shows_neither_secrets_nor_locals(self, start: Start, form: str) -> None:
        stream = start(format=form)

        def fail(client_secret: str) -> None:
            raise RuntimeError(f"refused: client_secret={client_secret}")

        try:
            fail(SECRET)
        except RuntimeError:
            structlog.get_logger().exception("sign_in.failed")
            logging.getLogger("x").exception("and again")
        assert SECRET not in stream.getvalue()
        assert stream.getvalue().count("RuntimeError: refused") == 2

    def test_what_graph_answered_stays(self) -> None:
        event = {"error": "status_code: 404, error code=NotFound, request-id: x"}
        assert clean(None, "info", event) == event

    def test_numbers_under_such_a_name_are_none(self) -> None:
        event = {"token_expires_in": 3599, "tokens": True, "token": None, "token_x": "y"}
        assert clean(None, "info", event) == {**event, "token_x": MASK}


class TestForgery:
    @pytest.mark.parametrize("form", ["json", "console"])
    @pytest.mark.parametrize(
        "text",
        ["a\n2026-01-01 [info] forged", "\x1b[2J\x1b[H", "a\rb", "\u2028x", "\u202egnp", "\0"],
    )
    def test_a_value_cannot_forge_a_line(self, start: Start, form: str, text: str) -> None:
        stream = start(format=form)
        structlog.get_logger().info(text, **{text: text}, n=[text], m={text: text})
        [line] = stream.getvalue().splitlines()
        assert line.isprintable()

    def test_an_exceptions_text_cannot_either(self, start: Start) -> None:
        stream = start(format="console")
        try:
            raise ValueError("x\n2026-01-01T00:00:00Z [info     ] forged\x1b[2J\n")
        except ValueError:
            structlog.get_logger().exception("a")
        first, *rest = stream.getvalue().splitlines()
        assert "forged" not in first
        assert all(line.startswith("  ") and line.isprintable() for line in rest if line)

    def test_what_is_endless_is_cut(self, start: Start) -> None:
        stream = start()
        deep: Any = "x"
        for _ in range(100):
            deep = [deep]
        structlog.get_logger().info(
            "a",
            text="x" * 1_000_000,
            many=list(range(1000)),
            each={n: n for n in range(99)},
            deep=deep,
        )
        [line] = lines(stream)
        assert line["text"].endswith("x... (998000 more)")
        assert line["many"][-1] == "... (950 more)"
        assert line["each"]["..."] == "49 more"
        assert line["deep"] == [[[["..."]]]]
        assert len(stream.getvalue()) < 5_000

    def test_a_log_never_fails(self, start: Start) -> None:
        class Odd:
            def __str__(self) -> str:
                raise RuntimeError

        stream = start()
        structlog.get_logger().info("a", odd=Odd(), kind=object)
        assert lines(stream)[0]["odd"] == "<Odd that cannot be shown: RuntimeError>"


class TestUsers:
    def test_they_are_shown_unless_the_settings_say_otherwise(self, start: Start) -> None:
        stream = start()
        structlog.get_logger().info("a", user=USER)
        assert lines(stream)[0]["user"] == USER

    def test_they_are_hashed_wherever_they_stand(self, start: Start) -> None:
        stream = start(hash_users=True)
        structlog.get_logger().info(
            "hold.refused",
            user=USER,
            users=[USER, "ann@contoso.com"],
            error=f"POST /users/{USER.upper()}/presence/setPresence: 404",
        )
        [line] = lines(stream)
        assert line["user"] == hashed(USER)
        assert line["users"] == [hashed(USER), hashed("ann@contoso.com")]
        assert line["error"] == f"POST /users/{hashed(USER)}/presence/setPresence: 404"
        assert USER not in stream.getvalue().lower()

    def test_in_tracebacks_and_other_libraries_messages_too(self, start: Start) -> None:
        stream = start(hash_users=True)
        try:
            raise ValueError(USER)
        except ValueError:
            structlog.get_logger().exception("a", nested={"user": USER, "keys": (USER,)})
        logging.getLogger("x").warning("GET /users/%s", USER)
        assert USER not in stream.getvalue()
        assert stream.getvalue().count(hashed(USER)) == 4

    def test_ids_of_nobody_stay(self, start: Start) -> None:
        stream = start(hash_users=True)
        structlog.get_logger().info("a", tenant=TENANT, request_id=USER, sweep=TENANT)
        [line] = lines(stream)
        assert (line["tenant"], line["request_id"], line["sweep"]) == (TENANT, USER, TENANT)

    def test_the_hash_is_the_same_always(self) -> None:
        assert hashed(USER) == hashed(USER.upper()) == "user-" + hashed(USER)[5:]
        assert hashed(USER) != hashed(TENANT)
        assert len(hashed(USER)) == 21
