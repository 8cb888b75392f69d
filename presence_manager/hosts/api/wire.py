"""The connections of the HTTP API: whatever is not HTTP is told so as a problem, too."""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from presence_manager.hosts.api.problems import INTERNAL, INVALID_REQUEST, Problem

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """One connection; its requests go to the application, those that cannot be read end here."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what did not come as far as the application; the connection is closed."""
        if status >= 500 or request.writer.output_size > 0:
            super().handle_error(request, status, exc, message)  # logs it, or gives up
            told = Problem(INTERNAL, "the daemon's log says more")
        elif isinstance(exc, LineTooLong):
            told = Problem(INVALID_REQUEST, "the address, or a header, is too long")
        else:
            told = Problem(INVALID_REQUEST, "this is not HTTP/1.1 as RFC 9112 has it")
        log.info("http.unreadable", status=told.kind.status, why=type(exc).__name__)
        answer = told.answer()
        answer.headers["Server"] = "presence-manager"
        answer.force_close()
        return answer
