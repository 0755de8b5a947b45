"""Errors as gRPC has them: a status, a text, and metadata that follow it."""

from __future__ import annotations

import math

import grpc

from fleetnet.serving.errors import Cause, Refusal

STATUS: dict[Cause, grpc.StatusCode] = {
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "not-found": grpc.StatusCode.NOT_FOUND,
    # Not RESOURCE_EXHAUSTED, which is worth trying again.
    "too-large": grpc.StatusCode.INVALID_ARGUMENT,
    "unsupported": grpc.StatusCode.INVALID_ARGUMENT,
    "too-slow": grpc.StatusCode.DEADLINE_EXCEEDED,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
    "cancelled": grpc.StatusCode.CANCELLED,
    "internal": grpc.StatusCode.INTERNAL,
}
MAX_TEXT = 1000
"""Characters of an error: clients refuse metadata of more than 8 KiB."""


def metadata_of(refusal: Refusal) -> list[tuple[str, str]]:
    """Return what follows a status: the code for programs, and when it is worth trying again."""
    metadata = [("error-code", refusal.code)]
    if refusal.retry_after is not None:
        seconds = refusal.retry_after
        metadata.append(("retry-after", str(max(1, math.ceil(seconds)))))
        # Understood by the retries of gRPC itself.
        metadata.append(("grpc-retry-pushback-ms", str(max(1, round(seconds * 1000)))))
    return metadata
