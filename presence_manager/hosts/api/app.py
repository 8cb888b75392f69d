"""The application: routes, the guard before them, and problems instead of faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

import structlog
from aiohttp import web

from presence_manager.errors import Closed, PresenceError
from presence_manager.hosts.api import problems
from presence_manager.hosts.api.call import SERVICE, Route, answer
from presence_manager.hosts.api.guard import Guard
from presence_manager.hosts.api.metrics import StatusCollector
from presence_manager.hosts.api.openapi import document
from presence_manager.hosts.api.problems import Problem, problem_of
from presence_manager.hosts.api.routes import ROUTES
from presence_manager.hosts.api.service import Service
from presence_manager.hosts.page import add_page

log = structlog.get_logger()

GUARD = web.AppKey("guard", Guard)
PAGE = ("/", "/page/")
"""Where the page lies; it may be loaded without a token, and asks for one itself."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(service: Service, guard: Guard) -> web.Application:
    """The application that serves this; `app.router` takes more routes before it starts."""
    app = web.Application(middlewares=[_answered])
    app[SERVICE], app[GUARD] = service, guard
    service.guarded = bool(guard.tokens)
    for route in ROUTES:
        path = route.path.replace("}", ":[^/]+}")  # any text; the router's own is without braces
        app.router.add_route(route.method, path, _handler(route))
    described = document(ROUTES)

    async def openapi(_: web.Request) -> web.StreamResponse:
        return answer(described)

    app.router.add_get("/v1/openapi.json", _public(openapi), allow_head=False)
    add_page(app.router)
    service.meters.registry.register(
        StatusCollector(service.presence.status, lambda: service.draining)
    )
    app.on_response_prepare.append(_protect)
    return app


def _handler(route: Route) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route(request)

    return _public(handle) if route.public else handle


def _public(handler: Handler) -> Handler:
    handler.public = True  # type: ignore[attr-defined]
    return handler


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "presence-manager"


@web.middleware
async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every request, and time it."""
    started = perf_counter()
    response = await _answer(request, handler)
    resource = request.match_info.route.resource
    request.app[SERVICE].meters.http_seconds.labels(
        request.method if resource is not None else "other",
        resource.canonical if resource is not None else "none",
        str(response.status),
    ).observe(perf_counter() - started)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer, a problem where it goes wrong."""
    try:
        public = getattr(request.match_info.handler, "public", False) or _is_page(request.path)
        bearer = request.app[GUARD].check(request, public=public)
        if request.method == "POST":  # these may touch many: who asked is for the record
            by = "" if bearer is None else bearer.name
            log.info("http.asked", method=request.method, path=request.path, by=by)
        return await handler(request)
    except Problem as problem:
        return problem.answer()
    except PresenceError as error:
        told = problem_of(error)
        if told.kind.status >= 500 and not isinstance(error, Closed):
            log.error("http.failed", path=request.path, error=str(error))
        return told.answer()
    except web.HTTPException as error:
        return _of_router(request, error)
    except Exception:
        log.exception("http.fault", method=request.method, path=request.path)
        return Problem(problems.INTERNAL, "the daemon's log says more").answer()


def _is_page(path: str) -> bool:
    return path == PAGE[0] or path.startswith(PAGE[1])


def _of_router(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"here may be asked: {allowed}"
        return Problem(problems.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed}).answer()
    if error.status == 404:
        return Problem(problems.NOT_FOUND, "/v1/openapi.json says what there is").answer()
    if error.status < 400:
        raise error
    return Problem(problems.INVALID_REQUEST, error.reason).answer()
