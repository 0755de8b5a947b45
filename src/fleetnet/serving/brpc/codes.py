"""Errors as bRPC has them: numbers, of which clients know what to do about some."""

from __future__ import annotations

from fleetnet.serving.errors import Cause, NotFoundError, Refusal

NO_SERVICE, NO_METHOD, BAD_REQUEST, UNAUTHORIZED, TIMED_OUT = 1001, 1002, 1003, 1004, 1008
INTERNAL, STOPPING, LIMIT = 2001, 2003, 2004
CODES: dict[Cause, int] = {
    "invalid": BAD_REQUEST,
    "unauthenticated": UNAUTHORIZED,
    "forbidden": UNAUTHORIZED,
    "not-found": BAD_REQUEST,
    "too-large": BAD_REQUEST,
    "unsupported": BAD_REQUEST,
    "too-slow": TIMED_OUT,
    "overloaded": LIMIT,
    # Of a server that starts; one that is being stopped has a number of its own.
    "unavailable": LIMIT,
    "deadline": TIMED_OUT,
    "cancelled": INTERNAL,
    "internal": INTERNAL,
}
_OWN = {"no-service": NO_SERVICE, "no-method": NO_METHOD}
MAX_TEXT = 1000


class NoServiceError(NotFoundError):
    """There is no service of this name."""

    code = "no-service"


class NoMethodError(NotFoundError):
    """The service has no method of this name."""

    code = "no-method"


def number_of(refusal: Refusal, *, draining: bool) -> int:
    """Return bRPC's number of what a client is told.

    Args:
        refusal: what it is told.
        draining: whether the server is being stopped. Clients leave one that says so, which those
            of one that starts should not do.
    """
    if refusal.cause == "unavailable" and draining:
        return STOPPING
    return _OWN.get(refusal.code, CODES[refusal.cause])


def text_of(refusal: Refusal) -> str:
    """Return the text, as a message can hold it."""
    return refusal.text[:MAX_TEXT].encode("utf-8", "replace").decode()
