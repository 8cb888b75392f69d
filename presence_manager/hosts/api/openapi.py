"""The OpenAPI document, made of the table of routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from presence_manager.hosts.api import problems
from presence_manager.hosts.api.call import Route

_REF = "#/components/schemas/{model}"
_GUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_PARTS = {
    "tenant": {
        "description": "the tenant's id, or default for the one of the settings",
        "schema": {"type": "string", "pattern": f"^(default|{_GUID})$"},
        "example": "default",
    },
    "user": {
        "description": "the user's object id in Entra",
        "schema": {"type": "string", "pattern": f"^{_GUID}$"},
    },
    "hold": {
        "description": "the hold's id, chosen by the caller: it names the hold of this user",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    },
    "sweep": {"description": "the sweep's id", "schema": {"type": "string", "minLength": 1}},
}
_EVERYWHERE = (
    *(problems.INVALID_REQUEST, problems.WRONG_HOST, problems.INTERNAL),
    *(problems.UNAUTHORIZED, problems.NOT_FOUND),
)
_UNSAFE = (problems.FORBIDDEN, problems.CROSS_SITE)
_BODY = (problems.TIMEOUT, problems.TOO_LARGE, problems.UNSUPPORTED, problems.INVALID_HOLD)
PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457). Programs go by `type`, which never changes.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"enum": [problems.PREFIX + kind.name for kind in problems.TYPES]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "for people"},
        "graph_status": {"type": ["integer", "null"], "description": "what Graph answered"},
        "graph_code": {"type": "string"},
        "graph_message": {"type": "string"},
        "graph_request_id": {"type": "string", "description": "for Microsoft's support"},
    },
}


def document(routes: Sequence[Route], version: str = "1") -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    schemas: dict[str, Any] = {"Problem": PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "presence-manager",
            "version": version,
            "description": "Tracks the Teams presence sessions that an application holds, and "
            "clears every one of them. Durations are in seconds, instants in ISO 8601, UTC.",
        },
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "needed where http.token or http.tokens_file is set",
                }
            },
        },
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [
            {"name": part, "in": "path", "required": True, **_PARTS[part]}
            for part in re.findall(r"{(\w+)}", route.path)
        ],
        "responses": {},
    }
    if route.public:
        operation["security"] = []
    if route.query is not None:
        shape = _schema(route.query, schemas)
        operation["parameters"] += [
            _parameter(name, each) for name, each in shape["properties"].items()
        ]
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.needs_body,
            "content": {"application/json": {"schema": _named(route.body, schemas)}},
        }
    responses = operation["responses"]
    for status, kind in route.answers.items():
        if isinstance(kind, str):
            content: dict[str, Any] = {kind: {"schema": {"type": "string"}}}
        else:
            content = {"application/json": {"schema": _named(kind, schemas)}}
        if status == 200:
            content |= {media: {"schema": {"type": "string"}} for media in route.also}
        responses[str(status)] = {"description": _said(status), "content": content}
    _add_problems(route, responses)
    return operation


def _add_problems(route: Route, responses: dict[str, Any]) -> None:
    kinds = [*_EVERYWHERE, *route.problems]
    kinds += _UNSAFE if route.method != "GET" else ()
    kinds += _BODY if route.body is not None else ()
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    for kind in sorted(set(kinds), key=lambda kind: (kind.status, kind.name)):
        response = responses.setdefault(str(kind.status), {"description": "", "content": {}})
        described = f"{kind.title} (`{kind.name}`)"
        response["description"] = "; ".join(filter(None, (response["description"], described)))
        response["content"] |= problem


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    options = schema.pop("anyOf", None)
    if options is not None:  # what may be left out is not null in a query
        schema |= next(each for each in options if each.get("type") != "null")
        schema.pop("default", None)
    parameter = {"name": name, "in": "query", "schema": schema}
    if description := schema.pop("description", None):
        parameter["description"] = description
    return parameter


def _named(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of this type, which is put into `schemas`."""
    name = kind.__name__
    if name not in schemas:
        schemas[name] = _schema(kind, schemas)
    return {"$ref": _REF.format(model=name)}


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = TypeAdapter(kind).json_schema(ref_template=_REF)
    inner = schema.pop("$defs", {})
    schemas |= inner
    return schema


def _said(status: int) -> str:
    return {200: "Done", 202: "Accepted, not done yet", 503: "Not ready"}[status]
