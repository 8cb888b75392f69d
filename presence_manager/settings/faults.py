"""What is wrong with the settings, told in the user's words: one line for each fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from presence_manager.settings.credentials import TENANTS, TenantSettings
from presence_manager.settings.sources import PREFIX, sections_of, variable_of


def told(settings: type[BaseModel], error: ValidationError, names: Mapping[str, str]) -> list[str]:
    """Return a line for each fault; `names` has the user's name for each dotted one."""
    fields = fields_of(settings)
    lines = []
    for fault in error.errors(include_url=False):
        parts = [str(part) for part in fault["loc"]]
        dotted = ".".join(parts[: 3 if parts[0] == TENANTS else 2])
        if parts[0] == TENANTS:
            inner = TenantSettings.model_fields
            fields |= {f"{TENANTS}.{parts[1]}.{key}": value for key, value in inner.items()}
        name = names.get(dotted, dotted)
        section = dotted.removesuffix(".")
        if section in sections_of(settings):
            lines.append(f"{names.get(dotted, section)}: {_of_section(section, fields, name)}")
        elif dotted not in fields:
            known = [*fields, *sections_of(settings)]
            lines.append(f"{name}: {_unknown(dotted, name, known)}")
        elif fault["type"] == "value_error":
            lines.append(f"{name}: {fault['ctx']['error']}")
        else:
            lines.append(_refused(name, fields[dotted], fault["input"]))
    return list(dict.fromkeys(lines))  # what may be of two kinds has a fault for each


def fields_of(settings: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return every setting's field by its dotted name; those of a tenant's section are not here."""
    fields: dict[str, FieldInfo] = {}
    sections = sections_of(settings)
    for name, field in settings.model_fields.items():
        if name in sections:
            inner = sections[name].model_fields
            fields |= {f"{name}.{key}": value for key, value in inner.items()}
        elif name != TENANTS:
            fields[name] = field
    return fields


def allowed(field: FieldInfo) -> str:
    """Say what a setting may be."""
    return _allowed(field.annotation, field.metadata)


def _allowed(kind: Any, limits: Sequence[object]) -> str:
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not NoneType]
        return " or ".join(_allowed(part, limits) for part in parts)
    if get_origin(kind) is Annotated:
        kind, *own = get_args(kind)
        limits = [*limits, *(limit for each in own for limit in getattr(each, "metadata", ()))]
        return _allowed(kind, limits)
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        bounds = [text for limit in limits if (text := _bound(limit))]
        return " ".join(["a whole number" if kind is int else "a number", ", ".join(bounds)])
    return "the path of a file" if kind is Path else "text"


def _bound(limit: object) -> str:
    match limit:
        case Gt(gt=number):
            return f"above {number}"
        case Ge(ge=number):
            return f"from {number}"
        case Le(le=number):
            return f"up to {number}"
    return ""


def _refused(name: str, field: FieldInfo, value: Any) -> str:
    may = f"it may be {allowed(field)} ({field.description})"
    if allowed(field) in ("text", "the path of a file"):  # may be secret: not repeated
        return f"{name}: this is not text; {may}"
    return f"{name}: {ascii(value)[:40]} is not accepted; {may}"


def _of_section(section: str, fields: Mapping[str, FieldInfo], name: str) -> str:
    inner = [dotted for dotted in fields if dotted.startswith(section + ".")]
    if name.startswith(PREFIX):
        inner = [variable_of(dotted) for dotted in inner]
    return "is a section, not a value; its settings are " + ", ".join(inner)


def _unknown(dotted: str, name: str, known: Sequence[str]) -> str:
    """Name what looks most like it: the same word in another section, else a near spelling."""
    last = dotted.rpartition(".")[2]
    same = [each for each in known if each.rpartition(".")[2] == last]
    close = get_close_matches(dotted, same or known, n=2 if same else 1, cutoff=0 if same else 0.6)
    if not close:
        return "there is no such setting; config/presence.toml has them all"
    if name.upper().startswith(PREFIX):
        close = [variable_of(each) for each in close]
    return f"there is no such setting; did you mean {' or '.join(close)}?"
