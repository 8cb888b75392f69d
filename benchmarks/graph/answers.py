"""Answers as Graph writes them, as text; made of ready pieces, for speed."""

from __future__ import annotations

import json
import time
from typing import Any, Final

try:
    import orjson
except ImportError:  # the tests do without
    loads: Any = json.loads

    def quoted(value: Any) -> str:
        """Return a value as JSON."""
        return json.dumps(value)
else:
    loads = orjson.loads

    def quoted(value: Any) -> str:
        """Return a value as JSON."""
        return orjson.dumps(value).decode()


REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    503: "Service Unavailable",
}
CODES: Final = {
    400: ("BadRequest", "The request is malformed."),
    401: ("InvalidAuthenticationToken", "Access token is empty."),
    404: ("NotFound", "The presence session was not found."),
    405: ("MethodNotAllowed", "The method is not allowed here."),
    429: ("TooManyRequests", "Too many requests. Wait, and try again."),
    503: ("ServiceUnavailable", "The service is unavailable for now."),
}
ERRORS: Final = {
    status: quoted({"error": {"code": code, "message": text, "innerError": {}}})
    for status, (code, text) in CODES.items()
}
ITEMS: Final = {
    status: f',"status":{status},"headers":{{"Cache-Control":"no-cache"'
    + ("" if status == 200 else ',"Content-Type":"application/json"')
    + f'}},"body":{error}}}'
    for status, error in ({200: "null"} | ERRORS).items()
}


def item(name: Any, status: int, wait: int) -> str:
    """Return the answer to one item of a batch."""
    text = ITEMS[status]
    if wait:
        text = text.replace('"Cache-Control"', f'"Retry-After":"{wait}","Cache-Control"')
    return f'{{"id":{quoted(name)}{text}'


class Writer:
    """Writes whole HTTP answers; the Date header is made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._date = ""
        self._number = 0

    def answer(self, status: int, body: str, wait: int = 0) -> bytes:
        """Return the bytes of one answer."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
        self._number += 1
        extra = f"Retry-After: {wait}\r\n" if wait else ""
        kind = "Content-Type: application/json\r\n" if body else ""
        return (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nDate: {self._date}\r\n{kind}{extra}"
            f"request-id: 00000000-0000-4000-8000-{self._number:012x}\r\n"
            f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
        ).encode()
