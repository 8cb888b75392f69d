"""Reading an answer's body within bounds, packed or not."""

from __future__ import annotations

import zlib

from aiohttp import ClientResponse


class Unreadable(Exception):
    """The body cannot be had; `code` says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


async def read(response: ClientResponse, most: int) -> bytes:
    """Return the whole body; raise Unreadable when it is longer than `most` bytes, or packed oddly.

    We ask for plain bodies (Accept-Encoding: identity), but some proxies pack them all the same.
    """
    if (response.content_length or 0) > most:
        raise _too_long(most)
    pieces: list[bytes] = []
    length = 0
    while piece := await response.content.readany():
        length += len(piece)
        if length > most:
            raise _too_long(most)
        pieces.append(piece)
    body = b"".join(pieces)
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    return body if not body or packing == "identity" else _unpacked(body, packing, most)


def _unpacked(body: bytes, packing: str, most: int) -> bytes:
    if packing not in ("gzip", "x-gzip", "deflate"):
        raise Unreadable("unreadableAnswer", "the answer is packed in a way we did not ask for")
    worker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its first bytes
    try:
        plain = worker.decompress(body, most + 1)
    except zlib.error:
        raise Unreadable("unreadableAnswer", "the answer's compression is broken") from None
    if len(plain) > most:
        raise _too_long(most)
    if not worker.eof:
        raise Unreadable("cutOff", "the answer was cut off")
    return plain


def _too_long(most: int) -> Unreadable:
    return Unreadable("answerTooLong", f"the answer is longer than {most} bytes")
