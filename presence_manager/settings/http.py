"""The settings of the daemon's HTTP API."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from presence_manager.settings.sections import OptionalFile, Section

SHORTEST_TOKEN = 16
"""Characters of a bearer token of the HTTP API, at least."""

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.ASCII)


def _listen(text: str) -> str:
    """Return host:port or unix:/path in one spelling; anything else is a ValueError."""
    text = text.strip()
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise ValueError("must be unix:/path, the path from the root on")
        return text
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    if not colon or not _HOST.fullmatch(host.lower()) or not 0 <= number <= 65535:
        raise ValueError("must be host:port such as 127.0.0.1:8787 or [::1]:0, or unix:/path")
    return f"[{host.lower()}]:{number}" if ":" in host else f"{host.lower()}:{number}"


def _names(text: str) -> str:
    """Return host names, without ports, separated by commas."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError("must be host names without ports, separated by commas")
    return ",".join(names)


def _in_print(secret: SecretStr) -> SecretStr:
    """Refuse what no Authorization header carries; the text itself is not repeated."""
    text = secret.get_secret_value().strip()
    if text and not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("has a space, a line break or another odd sign in it (not shown)")
    if 0 < len(text) < SHORTEST_TOKEN:
        raise ValueError(f"is too easily guessed: at least {SHORTEST_TOKEN} characters (not shown)")
    return SecretStr(text)


Listen = Annotated[str, AfterValidator(_listen)]
Names = Annotated[str, AfterValidator(_names)]
BearerToken = Annotated[SecretStr, AfterValidator(_in_print)]


class HttpSettings(Section):
    """The HTTP API of the daemon."""

    listen: Listen = Field(
        default="127.0.0.1:8787",
        description="host:port, where port 0 takes a free one, or unix:/path",
    )
    hosts: Names = Field(
        default="",
        description="names besides localhost by which the daemon is called, separated by commas",
    )
    token: BearerToken = Field(
        default=SecretStr(""), description="a bearer token that may do everything"
    )
    tokens_file: OptionalFile = Field(
        default=None, description="file of bearer tokens, one name:scope:token in a line"
    )
    tls_cert: OptionalFile = Field(
        default=None, description="PEM file of the certificate, with its chain, to serve https"
    )
    tls_key: OptionalFile = Field(
        default=None, description="PEM file of its private key, if not in the same file"
    )
