"""Where settings come from besides arguments: variables, a TOML file, Azure's variables.

Each source wraps its values as `Given`, with the name under which the user gave them, so that a
fault can be told in the user's own words.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from presence_manager.errors import SettingsError

PREFIX = "PRESENCE_"
CONFIG = "PRESENCE_CONFIG"
CREDENTIALS = (
    "client_secret",
    "client_secret_file",
    "client_certificate",
    "federated_token_file",
    "managed_identity",
    "delegated",
    "access_token",
)
"""The kinds of credential; one is used."""

_TENANTS = "tenants"
_PASSWORD = "client_certificate_password"  # noqa: S105
# What Kubernetes puts into every pod for a service called presence, or presence-anything.
_SERVICE_LINK = re.compile(
    r"PRESENCE(_\w+)??_(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Given:
    """A value and the name under which the user gave it."""

    value: Any = field(repr=False)
    name: str


def in_print(name: str) -> str:
    """Return a name from outside fit for one line of a message."""
    return name[:300] if name.isprintable() else ascii(name[:300])


def variable_of(name: str) -> str:
    """Return the variable of a setting by its dotted name."""
    return PREFIX + name.replace(".", "__").upper()


def sections_of(settings: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the sections by their names."""
    return {
        name: field.annotation
        for name, field in settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def kinds(values: dict[str, Any]) -> list[str]:
    """Return the kinds of credential that are given and not empty."""
    return [kind for kind in CREDENTIALS if _bare(values.get(kind))]


def _bare(value: object) -> object:
    if isinstance(value, Given):
        value = value.value
    return value.get_secret_value() if isinstance(value, SecretStr) else value


class Source(PydanticBaseSettingsSource):
    """One source; pydantic-settings merges them, the earlier one winning."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: a source answers all of its values at once."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        """Return the values, those of a section in a dict of their own."""
        sections = sections_of(self.settings_cls)
        values: dict[str, Any] = {}
        for dotted, given in self.given():
            section, dot, key = dotted.partition(".")
            if section == _TENANTS and key.count(".") == 1:
                tenant, _, key = key.partition(".")
                values.setdefault(section, {}).setdefault(tenant, {})[key] = given
            elif section in (*sections, _TENANTS):  # an empty key stands for the section as a whole
                values.setdefault(section, {})[key] = given
            else:
                values[section + dot + key] = given
        above = kinds(self.current_state)
        if above:  # a credential is taken whole, from the first source that gives one
            for kind in CREDENTIALS:
                values.pop(kind, None)
            if "client_certificate" not in above:
                values.pop(_PASSWORD, None)
        return values

    def given(self) -> Iterable[tuple[str, Given]]:
        """Return each value by its dotted name."""
        raise NotImplementedError


class Variables(Source):
    """`PRESENCE_*`, nested with `__`; empty ones count as not given."""

    def given(self) -> Iterable[tuple[str, Given]]:
        """Return each variable; unknown ones too, so that a typing mistake is found."""
        known = {
            variable_of(f"{name}.{key}")
            for name, section in sections_of(self.settings_cls).items()
            for key in section.model_fields
        } | {variable_of(name) for name in self.settings_cls.model_fields}
        for name, value in os.environ.items():
            upper = name.upper()
            if not upper.startswith(PREFIX) or upper == CONFIG or not value:
                continue
            if upper not in known and _SERVICE_LINK.fullmatch(upper):
                continue
            yield (
                upper.removeprefix(PREFIX).lower().replace("__", "."),
                Given(value, in_print(name)),
            )


class TomlFile(Source):
    """The file named by `PRESENCE_CONFIG`."""

    def given(self) -> Iterable[tuple[str, Given]]:
        """Return each value of the file."""
        path = os.environ.get(CONFIG, "")
        sections = sections_of(self.settings_cls)
        for name, value in (_read(path) if path else {}).items():
            if name in (*sections, _TENANTS) and isinstance(value, dict):
                for key, inner in _leaves(value, deep=name == _TENANTS):
                    yield f"{name}.{key}", Given(inner, in_print(f"{path}: {name}.{key}"))
            else:
                yield name, Given(value, in_print(f"{path}: {name}"))


def _leaves(section: dict[str, Any], *, deep: bool) -> Iterable[tuple[str, Any]]:
    for key, value in section.items():
        if deep and isinstance(value, dict) and value:
            yield from ((f"{key}.{inner}", each) for inner, each in value.items())
        else:
            yield key, value


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).expanduser().read_bytes().decode("utf-8-sig"))
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except UnicodeDecodeError:
        why = "it is not a text file in UTF-8"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = f"it is not TOML: {error}"
    raise SettingsError(f"{CONFIG}: cannot use {path}: {why[:200]}")


class Azure(Source):
    """The variables of Azure's own tools, where ours are not given.

    A secret comes before a certificate, and that before workload identity, as they do in Azure's
    DefaultAzureCredential. What signs in as another application than ours is left alone.
    """

    def given(self) -> Iterable[tuple[str, Given]]:
        """Return what they give."""
        for name, variable in (("tenant_id", "AZURE_TENANT_ID"), ("client_id", "AZURE_CLIENT_ID")):
            if not _bare(self.current_state.get(name)):
                yield from _azure(name, variable)
        ours = str(_bare(self.current_state.get("client_id")) or "").strip().casefold()
        theirs = os.environ.get("AZURE_CLIENT_ID", "").strip().casefold()
        if ours and theirs and ours != theirs:
            return
        graph = self.current_state.get("graph", {})
        if not any(_bare(graph.get(name)) for name in ("cloud", "authority")):
            yield from _azure("graph.authority", "AZURE_AUTHORITY_HOST", scheme="https://")
        if os.environ.get("AZURE_CLIENT_SECRET"):
            yield from _azure("client_secret", "AZURE_CLIENT_SECRET")
        elif os.environ.get("AZURE_CLIENT_CERTIFICATE_PATH"):
            yield from _azure("client_certificate", "AZURE_CLIENT_CERTIFICATE_PATH")
            if not kinds(self.current_state) and _PASSWORD not in self.current_state:
                yield from _azure(_PASSWORD, "AZURE_CLIENT_CERTIFICATE_PASSWORD")
        else:
            yield from _azure("federated_token_file", "AZURE_FEDERATED_TOKEN_FILE")


def _azure(name: str, variable: str, *, scheme: str = "") -> Iterable[tuple[str, Given]]:
    """Return the variable if it is set; `scheme` is put before an address that has none."""
    value = os.environ.get(variable)
    if value:
        yield name, Given(value if "://" in value else scheme + value, variable)
