"""The OpenAPI document against the routes, both ways, and against what the daemon answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from host_runs import user
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from serving import Daemon

from presence_manager.hosts.api import problems
from presence_manager.hosts.api.app import make_app
from presence_manager.hosts.api.guard import Guard
from presence_manager.hosts.api.openapi import document
from presence_manager.hosts.api.routes import ROUTES
from presence_manager.hosts.api.service import Service
from presence_manager.hosts.api.tokens import Tokens

EXAMPLES = 20
"""Requests that are made up for each operation."""


async def test_it_has_every_route_and_no_other(daemon: Daemon) -> None:
    app: web.Application = make_app(Service(daemon.metered), Guard(Tokens({}), None))
    routed = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }
    described = {
        (method.upper(), path)
        for path, operations in document(ROUTES)["paths"].items()
        for method in operations
    }
    assert described == routed - {("GET", "/v1/openapi.json")}


async def test_it_is_served_and_whole(daemon: Daemon) -> None:
    status, described = await daemon.ask("GET", "/v1/openapi.json")
    assert status == 200
    assert described["openapi"].startswith("3.1")
    schemas = described["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert used == set(schemas)
    kinds = described["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert kinds == [problems.PREFIX + kind.name for kind in problems.TYPES]
    names = [each["operationId"] for path in described["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))


def test_every_problem_is_said_of_some_operation() -> None:
    text = str(document(ROUTES)["paths"])
    said = {kind.name for kind in problems.TYPES if f"`{kind.name}`" in text}
    assert said == {kind.name for kind in problems.TYPES if kind is not problems.METHOD_NOT_ALLOWED}


def explore(described: dict[str, Any], url: str) -> int:
    """Make up requests for every operation, and check each answer; how many there were."""
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=url)
    made = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        def one(case: schemathesis.Case) -> None:
            nonlocal made
            made += 1
            if "tenant" in case.path_parameters and made % 2:
                case.path_parameters |= {"tenant": "default", "user": user(made % 5)}
            if case.path.endswith("/holds/{hold}") and case.method == "PUT":
                case.query = {**(case.query or {}), "wait": "0.2"}
            case.call_and_validate(timeout=10, checks=CHECKS)

        run: Callable[[], None] = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(_given(operation, one))
        run()
    return made


CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def _given(operation: Any, one: Callable[[Any], None]) -> Callable[[], None]:
    from hypothesis import given

    return given(case=operation.as_strategy())(one)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_whatever_is_asked_the_answer_is_as_described(daemon: Daemon) -> None:
    described = document([route for route in ROUTES if route.path != "/v1/drain"])
    made = await asyncio.to_thread(explore, described, daemon.server.urls[0])
    assert made > 5 * len(ROUTES)
