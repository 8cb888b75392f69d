"""The bearer tokens of the HTTP API: who may do what."""

from __future__ import annotations

import re
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Literal, NamedTuple

from presence_manager.errors import SettingsError
from presence_manager.settings.http import SHORTEST_TOKEN, HttpSettings

LARGEST_FILE = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)

Scope = Literal["read", "write"]


class Bearer(NamedTuple):
    """Who is asking; write includes read."""

    name: str
    scope: Scope


class Tokens:
    """All tokens, as digests: what is kept says nothing, and comparing takes the same time."""

    def __init__(self, tokens: dict[bytes, Bearer]) -> None:
        self._tokens = tokens

    def __repr__(self) -> str:
        return f"<Tokens of {', '.join(bearer.name for bearer in self._tokens.values())}>"

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def bearer(self, authorization: str) -> Bearer | None:
        """Whose token this Authorization header has, if it is one."""
        scheme, _, token = authorization.partition(" ")
        asked = _digest(token.strip())
        found = None
        for digest, bearer in self._tokens.items():
            if compare_digest(digest, asked):
                found = bearer
        return found if scheme.lower() == "bearer" else None


def own_token(http: HttpSettings) -> str:
    """A token of these settings that may do everything, for the command; empty if there is none.

    Raises SettingsError.
    """
    if single := http.token.get_secret_value():
        return single
    lines = [] if http.tokens_file is None else _lines(http.tokens_file)
    return next((token for bearer, token in lines if bearer.scope == "write"), "")


def tokens_of(http: HttpSettings) -> Tokens:
    """Read the tokens of the settings and of their file. Raises SettingsError."""
    tokens: dict[bytes, Bearer] = {}
    if single := http.token.get_secret_value():
        tokens[_digest(single)] = Bearer("http.token", "write")
    if http.tokens_file is not None:
        tokens |= {_digest(token): bearer for bearer, token in _lines(http.tokens_file)}
    return Tokens(tokens)


def _lines(path: Path) -> list[tuple[Bearer, str]]:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1).decode("ascii")
    except OSError as error:
        raise SettingsError(f"http.tokens_file: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"http.tokens_file: {path}: has signs that no token has") from None
    if len(text) > LARGEST_FILE:
        raise SettingsError(f"http.tokens_file: {path}: is too large to be a file of tokens")
    tokens: dict[str, Bearer] = {}
    names: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.strip().partition(":")
        scope, _, token = rest.partition(":")
        where = f"http.tokens_file: {path}, line {number}: "
        if not _NAME.fullmatch(name) or scope not in ("read", "write"):
            raise SettingsError(where + "write name:read:token or name:write:token")
        if len(token) < SHORTEST_TOKEN or not _TOKEN.fullmatch(token):
            raise SettingsError(
                where
                + f"a token has {SHORTEST_TOKEN} characters or more, of A-Z a-z 0-9 . _ ~ + / = -; "
                "make one with: openssl rand -hex 32"
            )
        if name in names or token in tokens:
            raise SettingsError(where + "this name, or this token, stands there twice")
        names.add(name)
        tokens[token] = Bearer(name, "read" if scope == "read" else "write")
    if not tokens:
        raise SettingsError(f"http.tokens_file: {path}: has no token in it")
    return [(bearer, token) for token, bearer in tokens.items()]


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogateescape")).digest()
