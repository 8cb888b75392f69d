"""Graph's error objects: `{"error": {"code", "message", "innerError": {...}}}`, nested or broken.

Source: Microsoft Graph "error responses and resource types": walk the nested codes and use the most
specific one that is known; never branch on the message.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from presence_manager.graph.headers import clean, clean_name

_DEEPEST: Final = 16

# First the page's own, as far as an action may meet them; then what was seen in the field.
_KNOWN: Final = """
    accessDenied activityLimitReached badArgument generalException invalidRequest itemNotFound
    notAllowed notFound notSupported quotaLimitReached serviceNotAvailable serviceReadOnly
    throttledRequest unauthenticated unauthorized unsupportedVersion

    TooManyRequests NotFound Forbidden Unauthorized InvalidArgument ServiceError BadRequest
    InternalServerError ServiceUnavailable GatewayTimeout UnknownError InvalidAuthenticationToken
    CompactToken_ValidationFailed TokenNotFound TokenExpired lifetimeValidationFailed
    Authorization_RequestDenied Authorization_IdentityNotFound Request_ResourceNotFound
    Request_BadRequest ResourceNotFound ErrorAccessDenied Conflict RequestTimeout InsufficientClaims
"""
KNOWN_CODES: Final = frozenset(_KNOWN.lower().split())
"""Codes that say more than a status, in lower case."""


class Error(NamedTuple):
    """Made fit for a log: printable, of bounded length; empty where Graph says nothing."""

    code: str = ""
    message: str = ""
    request_id: str = ""


def error_of(content: Any) -> Error:
    """Return the error in a JSON value, whatever its shape."""
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, str):  # as the identity platform has it
        return Error(clean_name(error), clean(content.get("error_description")))
    if not isinstance(error, dict):
        return Error()
    message = clean(error.get("message"))
    specific = outermost = request_id = ""
    level: Any = error
    for _ in range(_DEEPEST):
        if not isinstance(level, dict):
            break
        code = clean_name(level.get("code"))
        outermost = outermost or code
        if code.lower() in KNOWN_CODES:
            specific = code
        request_id = request_id or clean_name(level.get("request-id"))
        level = level.get("innerError") or level.get("innererror")
    return Error(specific or outermost, message, request_id)
