"""Why a request gets no answer, as causes that every protocol has a status for."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

from fleetnet.errors import FleetnetError

Cause = Literal[
    "invalid",
    "unauthenticated",
    "forbidden",
    "not-found",
    "too-large",
    "unsupported",
    "too-slow",
    "overloaded",
    "unavailable",
    "deadline",
    "cancelled",
    "internal",
]
"""What a protocol has to tell apart; :func:`cause_of` gives that of any exception."""


class ServingError(FleetnetError):
    """A request gets no answer.

    Attributes:
        cause: which every protocol maps to a status of its own.
    """

    code = "serving"
    cause: ClassVar[Cause] = "invalid"


class RequestError(ServingError):
    """The request is not what the protocol or the model takes."""

    code = "request"


class UnauthenticatedError(ServingError):
    """No token, or none that is known."""

    code = "unauthenticated"
    cause = "unauthenticated"


class ForbiddenError(ServingError):
    """The token is known, but its role may not do this."""

    code = "forbidden"
    cause = "forbidden"


class NotFoundError(ServingError):
    """No such model or version is loaded, or there is nothing of this name to load."""

    code = "not-found"
    cause = "not-found"


class TooLargeError(ServingError):
    """A body, an image, or the number of images is over its limit."""

    code = "too-large"
    cause = "too-large"


class UnsupportedError(ServingError):
    """The content is of a kind that is not taken."""

    code = "unsupported"
    cause = "unsupported"


class TooSlowError(ServingError):
    """The sender took longer than a body may take."""

    code = "too-slow"
    cause = "too-slow"


class RetryError(ServingError):
    """Something that passes; the same request may be answered later.

    Attributes:
        retry_after: when it is worth trying again, in seconds.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0, **fields: Any) -> None:
        super().__init__(message, retry_after=round(retry_after, 3), **fields)
        self.retry_after = retry_after


class OverloadedError(RetryError):
    """The queue is full: this request was shed, and nothing was computed for it."""

    code = "overloaded"
    cause = "overloaded"


class UnavailableError(RetryError):
    """The service or the model starts, drains or is stopped."""

    code = "unavailable"
    cause = "unavailable"


class DeadlineError(ServingError):
    """The request's deadline passed before there was an answer."""

    code = "deadline"
    cause = "deadline"


class InternalError(ServingError):
    """Something went wrong that the request did not cause; the log says what."""

    code = "internal"
    cause = "internal"


def cause_of(error: BaseException) -> Cause:
    """Return the cause of any exception; those that nobody foresaw are ``internal``."""
    if isinstance(error, ServingError):
        return error.cause
    return "invalid" if isinstance(error, FleetnetError) else "internal"


class Refusal(NamedTuple):
    """What a client is told.

    Attributes:
        code: stays the same when the text changes.
        retry_after: seconds; None if trying again is of no use.
    """

    cause: Cause
    text: str
    code: str
    fields: dict[str, Any]
    retry_after: float | None


def refusal_of(error: Exception) -> Refusal:
    """Return what a client is told of an error; of one that nobody foresaw, nothing."""
    cause = cause_of(error)
    if cause == "internal" and not isinstance(error, ServingError):
        text = "something went wrong here: the log says what"
        return Refusal(cause, text, "internal", {}, None)
    return Refusal(
        cause,
        str(error),
        getattr(error, "code", "internal"),
        getattr(error, "fields", {}),
        error.retry_after if isinstance(error, RetryError) else None,
    )
