"""The page at `/`, for an operator who looks rather than reads: files as they are, no more.

The page gets all that it shows from the HTTP API, like any other client, and loads nothing from
elsewhere. What the API answers is put in as text: with this policy the browser itself refuses
markup, scripts and styles that are not files of ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files

from aiohttp import web

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"


def add_page(router: web.UrlDispatcher) -> None:
    """Serve the page at `/`, and its other files under `/page/`."""
    for file in files(__name__).iterdir():
        media_type = _TYPES.get(file.name[file.name.rfind(".") :])
        if media_type is not None:
            path = "/" if file.name == _INDEX else f"/page/{file.name}"
            router.add_get(path, _handler(file.read_bytes(), media_type))


def _handler(data: bytes, media_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answer with one file; a browser that has it already is told so."""
    tag = sha256(data).hexdigest()[:32]
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}

    async def answer(request: web.Request) -> web.Response:
        if any(each.value == tag for each in request.if_none_match or ()):
            response = web.Response(status=304, headers=headers)
        else:
            response = web.Response(
                body=data, content_type=media_type, charset="utf-8", headers=headers
            )
        response.etag = tag
        return response

    return answer
