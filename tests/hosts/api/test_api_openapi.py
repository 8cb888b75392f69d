"""The OpenAPI document against the routes, both ways, and against what the daemon answers."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from host_runs import user
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import just
from schemathesis import GenerationMode
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

EXAMPLES = 10
"""Requests that are made up for each operation, right ones and wrong ones."""


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
    apart = {path for _, path in routed if path == "/" or path.startswith("/page")}
    apart.add("/v1/openapi.json")
    assert described == {(method, path) for method, path in routed if path not in apart}


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


def explore(described: dict[str, Any], url: str) -> Counter[GenerationMode]:
    """Make up requests for every operation, right and wrong ones; how many of each there were."""
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=url)
    made: Counter[GenerationMode] = Counter()
    for found, kind in product(list(schema.get_all_operations()), KINDS):
        cases = found.ok().as_strategy(generation_mode=kind)
        with suppress(Unsatisfiable):  # where nothing is given, nothing can be wrong
            sparing(given(cases, just(kind), just(made))(one))()
    return made


def one(case: schemathesis.Case, kind: GenerationMode, made: Counter[GenerationMode]) -> None:
    made[kind] += 1
    if "tenant" in case.path_parameters and made[kind] % 2:  # of a user who is there
        case.path_parameters |= {"tenant": "default", "user": user(made[kind] % 5)}
    if case.path.endswith("/holds/{hold}") and case.method == "PUT" and kind is KINDS[0]:
        case.query = {"wait": "0.2"}
    case.call_and_validate(timeout=10, checks=CHECKS)


sparing = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
KINDS = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_whatever_is_asked_the_answer_is_as_described(daemon: Daemon) -> None:
    described = document([route for route in ROUTES if route.path != "/v1/drain"])
    made = await asyncio.to_thread(explore, described, daemon.server.urls[0])
    assert min(made.values()) > 5 * EXAMPLES
