"""Why a server gave no answer, as a program tells it apart."""

from __future__ import annotations

from typing import Any

from fleetnet.errors import FleetnetError


class ClientError(FleetnetError):
    """A request got no answer.

    Attributes:
        status: of the HTTP response; None if there was none.
    """

    code = "client"

    def __init__(self, message: str = "", *, status: int | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status = status


class UnreachableError(ClientError):
    """There is no connection to the server, or it was cut before the answer."""

    code = "unreachable"


class ResponseError(ClientError):
    """What came back is no answer of such a server: damaged, cut off, or too large."""

    code = "bad-response"


class DeadlineError(ClientError):
    """The time that the request had is over, here or at the server."""

    code = "deadline"


class RefusedError(ClientError):
    """The server refused the request; code and fields are those that it gave."""

    code = "refused"


class AccessError(RefusedError):
    """The token is missing or unknown, or may not do this."""

    code = "access"


class MissingError(RefusedError):
    """The server has no such model, version or path."""

    code = "not-found"


class OverloadedError(RefusedError):
    """The server shed the request, at the last attempt too, or is not ready.

    Attributes:
        retry_after: when it is worth trying again, in seconds; None if the server did not say.
    """

    code = "overloaded"

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.retry_after = retry_after
