"""Logs of the hosts: one line for each event on stderr, for people or for machines.

Only programs of our own (the command, the daemon) call `configure`; the library itself logs
through structlog and configures nothing. Whatever is logged, by us or by a library through
`logging`, passes the same filters: nothing that looks like a secret leaves, no value can forge a
line or move the cursor, and user ids are hashed if the settings say so.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from presence_manager.settings import LogSettings

MASK = "********"
LONGEST_TEXT = 2_000
"""Characters of a value that are shown; of a traceback five times as many, its end."""
MOST_ITEMS = 50
"""Items of a collection that are shown."""
DEEPEST = 4

# These say at debug and info what was asked of whom, with which parameters.
_TALKATIVE = ("aiohttp", "asyncio", "httpcore", "httpx", "msal", "requests", "urllib3")
_SECRET_KEY = re.compile(
    r"secret|token|password|passphrase|authori[sz]ation|assertion|credential|cookie|api_?key"
    r"|private_?key|claims",
    re.IGNORECASE,
)
_SECRET_TEXT = [
    (re.compile(r"\b(Bearer|Basic)(\s+|%20)[\w.~+/=-]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{8,}(\.[\w-]*)*"), MASK),  # a JSON web token
    (re.compile(r"(://)[^/@\s]+@"), rf"\1{MASK}@"),
    (
        re.compile(
            r"""((?:secret|token|password|passphrase|assertion|\bsig)["']?\s*[=:]\s*["']?)"""
            r"""[^\s"'&,;<>)}\]]+""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
]
_GUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
# GUIDs under these keys are nobody's.
_NOT_PERSONAL = frozenset(
    {"app", "client_id", "owner", "owners", "request_id", "sweep", "sweep_id", "tenant"}
)
_PERSONAL = frozenset({"user", "users"})


def configure(logs: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (stderr), in the way the settings say.

    May be called again; the last call counts.
    """
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[logs.level.upper()]
    filters: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        partial(clean, hash_users=logs.hash_users),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *filters,
            _renderer(logs, stream),
        ],
    )
    handler = _Handler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    own = logging.getLogger("presence_manager")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: own,
        cache_logger_on_first_use=False,
    )


def hashed(user: str) -> str:
    """Return the name under which a user's id appears in logs with hashed users.

    The same everywhere and always, so that lines of several processes and days can be put
    together, and whoever is asked about a user can find that user's lines. It is a pseudonym:
    who has a list of ids can compute this for each of them. In free text every GUID is replaced,
    since nothing there says whose it is.
    """
    digest = blake2b(user.strip().lower().encode(), digest_size=8, person=b"presence-user")
    return f"user-{digest.hexdigest()}"


def clean(_: WrappedLogger, __: str, event: EventDict, *, hash_users: bool = False) -> EventDict:
    """Make the event fit to be shown: no secret, no control character, nothing endless."""
    return {
        _printable(str(key)): _clean(str(key), value, hash_users, DEEPEST)
        for key, value in event.items()
    }


def _clean(key: str, value: Any, hash_users: bool, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _clean_all(key, value, hash_users, depth)
    text = value if isinstance(value, str) else _told(value)
    if hash_users and key in _PERSONAL:
        return hashed(text)
    for pattern, instead in _SECRET_TEXT:
        text = pattern.sub(instead, text)
    if hash_users and key not in _NOT_PERSONAL:
        text = _GUID.sub(lambda found: hashed(found[0]), text)
    if key == "exception":  # its lines stay lines, but cannot pass for events
        lines = text[-5 * LONGEST_TEXT :].splitlines()
        return "\n".join("  " + _printable(line) for line in lines)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({len(text) - LONGEST_TEXT} more)"
    return _printable(text)


def _clean_all(key: str, value: Any, hash_users: bool, depth: int) -> Any:
    if depth == 0:
        return "..."
    left = len(value) - MOST_ITEMS
    if isinstance(value, Mapping):
        inner: dict[str, Any] = {
            _printable(str(name)): _clean(str(name), each, hash_users, depth - 1)
            for name, each in list(value.items())[:MOST_ITEMS]
        }
        return inner | {"...": f"{left} more"} if left > 0 else inner
    items = [_clean(key, each, hash_users, depth - 1) for each in list(value)[:MOST_ITEMS]]
    return [*items, f"... ({left} more)"] if left > 0 else items


def _told(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # a log must never be what fails
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _printable(text: str) -> str:
    """Write line ends, escapes and marks of direction as what they are."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _renderer(logs: LogSettings, stream: TextIO) -> Processor:
    terminal = stream.isatty()
    if logs.format == "json" or (logs.format == "auto" and not terminal):
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=terminal and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Ours: known by its class, so that a second `configure` can replace it."""
