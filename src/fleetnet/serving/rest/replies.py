"""Responses: answers and errors as JSON with a status, and the headers that all of them have."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fleetnet.json_text import json_text
from fleetnet.serving.errors import Cause, NotFoundError, refusal_of

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
NO_METHOD = 405
_UNREAD = (
    "too-large", "too-slow", "overloaded", "unauthenticated", "forbidden", "not-found", "invalid",
    "deadline",
)  # fmt: skip
"""Causes for which a body may not have been read: what follows on the connection is unknown."""


LINGER_SECONDS = 2.0
"""How long the rest of a refused body is taken, for a client that listens only when all is sent."""


class NoMethodError(NotFoundError):
    """The path is known, but not with this method."""

    code = "no-method"


class _Lingering(Response):
    """Is sent at once; then what still comes is passed over for a while.

    If the connection were closed with bytes in it that nobody took, a client that is still sending,
    such as a proxy, would find it broken and never see the answer.
    """

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})


def reply(value: Any, status: int = 200) -> Response:
    """Return JSON values as a response."""
    content = json_text(value, indent=None)
    return Response(content, status, media_type="application/json")


def refusal(error: Exception, *, unread: bool = False) -> Response:
    """Return an error as a response; of one that nobody foresaw, nothing is told.

    Args:
        error: why there is no answer.
        unread: whether a body comes that was not read to its end.
    """
    told = refusal_of(error)
    cause = told.cause
    unread = unread and cause in _UNREAD
    kind = _Lingering if unread else Response
    content = json_text({"error": told.text, "code": told.code, "fields": told.fields}, indent=None)
    response = kind(content, STATUS[cause], media_type="application/json")
    if told.retry_after is not None:
        response.headers["retry-after"] = str(max(1, math.ceil(told.retry_after)))
    if cause == "unauthenticated":
        response.headers["www-authenticate"] = "Bearer"
    if unread:
        response.headers["connection"] = "close"
    return response
