"""Responses: answers and errors as JSON with a status, and the headers that all of them have."""

from __future__ import annotations

import math
from typing import Any

from starlette.responses import Response

from fleetnet.json_text import json_text
from fleetnet.serving.errors import Cause, refusal_of

STATUS: dict[Cause, int] = {
    "invalid": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not-found": 404,
    "too-slow": 408,
    "too-large": 413,
    "unsupported": 415,
    "overloaded": 429,
    "cancelled": 499,
    "internal": 500,
    "unavailable": 503,
    "deadline": 504,
}
_UNREAD = ("too-large", "too-slow", "overloaded", "unauthenticated", "forbidden")
"""Causes for which a body may not have been read: what follows on the connection is unknown."""


def reply(value: Any, status: int = 200) -> Response:
    """Return JSON values as a response."""
    content = json_text(value, indent=None)
    return Response(content, status, media_type="application/json")


def refusal(error: Exception) -> Response:
    """Return an error as a response; of one that nobody foresaw, nothing is told."""
    told = refusal_of(error)
    cause = told.cause
    response = reply({"error": told.text, "code": told.code, "fields": told.fields}, STATUS[cause])
    if told.retry_after is not None:
        response.headers["retry-after"] = str(max(1, math.ceil(told.retry_after)))
    if cause == "unauthenticated":
        response.headers["www-authenticate"] = "Bearer"
    if cause in _UNREAD:
        response.headers["connection"] = "close"
    return response
