"""What all requests may hold together while they are received, whatever protocol they come by."""

from __future__ import annotations

from fleetnet.serving.errors import OverloadedError


class Budget:
    """Bytes that are held, up to a limit; it belongs to the thread of the event loop.

    Attributes:
        held: bytes that were taken and not given back.
    """

    def __init__(self, limit: int) -> None:
        self.held = 0
        self._limit = limit

    def take(self, size: int) -> None:
        """Count bytes that were received.

        Raises:
            OverloadedError: they are too many; none of them are counted.
        """
        if self.held + size > self._limit:
            raise OverloadedError("too many requests are being received: try again later")
        self.held += size

    def give_back(self, size: int) -> None:
        """Count bytes no more."""
        self.held -= size
