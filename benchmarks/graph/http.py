"""HTTP/1.1 as far as the benchmark's clients speak it: one request at a time, kept alive."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    target: str
    authorized: bool
    body: bytes


class Malformed(Exception):
    """What arrived is no HTTP request."""


class Reader:
    """Cuts a stream of bytes into requests."""

    def __init__(self) -> None:
        self._bytes = b""
        self._head: tuple[int, bytes, int] | None = None

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._bytes = self._bytes + data if self._bytes else data

    def next(self) -> Request | None:
        """Return the next whole request, or None; raise Malformed."""
        if self._head is None:
            end = self._bytes.find(b"\r\n\r\n")
            if end < 0:
                return None
            lowered = self._bytes[:end].lower()
            self._head = (end, lowered, _length(lowered))
        end, lowered, length = self._head
        start = end + 4
        if length < 0:
            found = _chunked(self._bytes, start)
            if found is None:
                return None
            body, stop = found
        else:
            stop = start + length
            if len(self._bytes) < stop:
                return None
            body = self._bytes[start:stop]
        line = self._bytes[: self._bytes.find(b"\r\n")].split(b" ")
        self._bytes = self._bytes[stop:]
        self._head = None
        if len(line) != 3:
            raise Malformed
        at = lowered.find(b"\r\nauthorization: bearer ")
        authorized = at >= 0 and lowered[at + 24 : at + 25] not in (b"", b"\r")
        return Request(line[0].decode(), line[1].decode(), authorized, body)


def _length(lowered: bytes) -> int:
    """Return the length of the body; -1 for chunks."""
    at = lowered.find(b"\r\ncontent-length:")
    if at < 0:
        return -1 if b"\r\ntransfer-encoding: chunked" in lowered else 0
    end = lowered.find(b"\r\n", at + 17)
    try:
        return int(lowered[at + 17 : end if end > 0 else len(lowered)])
    except ValueError:
        raise Malformed from None


def _chunked(data: bytes, start: int) -> tuple[bytes, int] | None:
    """Return the body and where it ends; None while it is not whole."""
    pieces = []
    while True:
        end = data.find(b"\r\n", start)
        if end < 0:
            return None
        try:
            size = int(data[start:end].split(b";")[0], 16)
        except ValueError:
            raise Malformed from None
        start = end + 2
        if len(data) < start + size + 2:
            return None
        if not size:
            return b"".join(pieces), start + 2
        pieces.append(data[start : start + size])
        start += size + 2
