"""The sections of the settings, each with its units, defaults and bounds."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.ASCII)


def origin(url: str) -> str:
    """Return scheme, host and port in one spelling; anything more, or less, is a ValueError."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:  # its own text may repeat a password
        raise ValueError("must be an address such as https://host or https://host:443") from None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or port == 0:
        raise ValueError("must be an address such as https://host or https://host:443")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("plain http is accepted for this machine only; use https")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("must be an address alone: no user, query or fragment")
    if parts.path not in ("", "/"):
        raise ValueError("must end with the host or port: no path (the version is graph.version)")
    standard = {"http": 80, "https": 443}[parts.scheme]
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port not in (None, standard) else "")


def is_loopback(host: str) -> bool:
    """Whether the name or address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _ledger_url(url: str) -> str:
    """Refuse what no ledger answers to."""
    url = url.strip()
    if url in ("", "memory://") or (url.startswith("sqlite:///") and url != "sqlite:///"):
        return url
    raise ValueError(
        "must be sqlite:///path (four slashes for a path from the root) or memory://, "
        "or empty for the user's state folder"
    )


def _at_home(path: Path) -> Path:
    """Read a leading ~ as the user's home folder."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


Origin = Annotated[str, AfterValidator(origin)]
LedgerUrl = Annotated[str, AfterValidator(_ledger_url)]
File = Annotated[Path, AfterValidator(_at_home)]
_EmptyIsNone = BeforeValidator(lambda value: None if value == "" else value)
OptionalFile = Annotated[File | None, _EmptyIsNone]
"""A file's path; empty text means none."""
Cloud = Annotated[Literal["global", "usgov-l4", "usgov-l5"] | None, _EmptyIsNone]
ManagedIdentity = Annotated[Literal["system", "user"] | None, _EmptyIsNone]
Delegated = Annotated[Literal["keyring", "file"] | None, _EmptyIsNone]


class Section(BaseModel):
    """A group of settings; immutable, and unknown names are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class GraphSettings(Section):
    """How Graph is reached."""

    cloud: Cloud = Field(
        default=None, description="Microsoft's cloud by name: sets base_url and authority"
    )
    base_url: Origin = Field(
        default="https://graph.microsoft.com",
        description="origin of Microsoft Graph, without the version",
    )
    version: Literal["v1.0", "beta"] = Field(
        default="v1.0", description="API version; beta is not supported in production"
    )
    authority: Origin = Field(
        default="https://login.microsoftonline.com", description="origin of the identity platform"
    )
    ca_file: OptionalFile = Field(
        default=None,
        description="PEM file of the certificate authority to trust, instead of the system's",
    )
    timeout: float = Field(
        default=10.0, gt=0, le=300, description="seconds one HTTP request may take"
    )
    connect_timeout: float = Field(
        default=3.0, gt=0, le=60, description="seconds a connection may take"
    )
    batch: Literal["auto", "off"] = Field(
        default="auto",
        description="auto: up to 20 sessions in one $batch request; off: one request each",
    )
    budget: Literal["auto"] | Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default="auto",
        description="requests per window, application and tenant",
    )
    budget_ceiling: int = Field(
        default=10_000, ge=1, le=1_000_000, description="requests per window that auto never passes"
    )
    budget_window: float = Field(
        default=30.0, gt=0, le=3600, description="seconds of the budget's window"
    )
    in_flight: int = Field(
        default=128,
        ge=1,
        le=128,
        description="HTTP requests in flight at most, per lane; it starts with 8 and adapts",
    )


class LedgerSettings(Section):
    """Where the ledger lies."""

    url: LedgerUrl = Field(
        default="",
        description="sqlite:///path or memory://; empty: presence-manager/ledger.db in the "
        "user's state folder",
    )
    busy_timeout: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="seconds to wait for a file that another process has locked",
    )
    keep_outcomes: float = Field(
        default=30.0, gt=0, le=3650, description="days for which outcomes are kept"
    )


class HoldSettings(Section):
    """Defaults of a hold."""

    lease: Literal["auto"] | Annotated[float, Field(ge=300, le=14400)] = Field(
        default=600.0,
        description="seconds Graph keeps a session that is not renewed",
    )
    timeout: float = Field(
        default=30.0, gt=0, le=3600, description="seconds hold() waits to be shown"
    )
    max_age: float = Field(
        default=43200.0, gt=0, le=31_536_000, description="seconds after which any hold ends"
    )


class ReleaseSettings(Section):
    """Defaults of a release."""

    timeout: float = Field(
        default=10.0, gt=0, le=3600, description="seconds release() waits for Graph"
    )


class RetrySettings(Section):
    """How hard to try."""

    attempts: int = Field(
        default=8, ge=1, le=1000, description="requests for one session before giving up"
    )
    first_wait: float = Field(
        default=0.03,
        ge=0,
        le=60,
        description="seconds before the second attempt; each wait is three times the one before",
    )
    longest_wait: float = Field(
        default=30.0, gt=0, le=3600, description="seconds between two attempts"
    )
    margin: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description="seconds a session is reckoned to live beyond its lease",
    )
    settle: float = Field(
        default=10.0,
        ge=0,
        le=600,
        description="seconds in which Graph may yet apply a lost request",
    )


class RecoverySettings(Section):
    """What is done about orphans and unfinished sessions."""

    watch: float = Field(
        default=2.0,
        gt=0,
        le=3600,
        description="seconds between two looks for processes that have died",
    )
    retry: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="seconds before a failed or unfinished clear is tried again",
    )


class ShutdownSettings(Section):
    """How the manager closes."""

    policy: Literal["clear", "keep"] = Field(
        default="clear",
        description="clear all sessions; or keep holds with a name or an end for the next process",
    )
    deadline: float = Field(
        default=8.0, ge=0, le=86400, description="seconds the closing sweep may take"
    )


class LogSettings(Section):
    """What the hosts log; the library itself configures nothing."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level"
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, else json"
    )
    hash_users: bool = Field(default=False, description="whether user ids are hashed in logs")
