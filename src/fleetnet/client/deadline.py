"""How much time a request has left, over all of its attempts."""

from __future__ import annotations

import math
import time

from fleetnet.client.errors import ClientError, DeadlineError


class Deadline:
    """When an answer is worth nothing any more; never, without seconds.

    Raises:
        ClientError: the seconds are no positive number.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise ClientError(f"a timeout is a positive number of seconds, or None, not {seconds}")
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds that are left, None for no end.

        Raises:
            DeadlineError: none are.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def allows(self, seconds: float) -> bool:
        """Tell whether there is anything left after so many seconds."""
        return self._end is None or time.monotonic() + seconds < self._end

    def passed(self) -> DeadlineError:
        """Return the error for a deadline that passed."""
        return DeadlineError(f"there was no answer within {self._seconds:g} s")
