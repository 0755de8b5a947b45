"""Requests on connections that are kept: attempts, pauses between them, one deadline for all."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from fleetnet.client.address import Address
from fleetnet.client.deadline import Deadline
from fleetnet.client.errors import ClientError, UnreachableError
from fleetnet.client.http import Response, SilentError, read_response, request_head
from fleetnet.client.network import Network, Stream
from fleetnet.errors import one_line

SHED = (429, 503)
"""Statuses that pass: nothing was computed, and the same request may be answered later."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between attempts: twice as many each time, of which at least half are waited."""
LONGEST_WAIT = 60.0
"""Seconds that a server may have us wait; where it says more, the error is raised at once."""
MAX_TIMEOUT_MS = 3_600_000
TIMEOUT_HEADER = "X-Request-Timeout-Ms"
_SMALL = 16 * 2**10


@dataclass(frozen=True)
class Options:
    """How requests are made.

    Attributes:
        timeout: seconds that a request has, with all of its attempts; None for any number.
        retries: how many attempts more after one that was shed.
        connections: how many may be open at a time.
        max_response: bytes of a response.
    """

    timeout: float | None = 30.0
    retries: int = 3
    connections: int = 64
    max_response: int = 64 * 2**20

    def __post_init__(self) -> None:
        Deadline(self.timeout)
        if self.retries < 0:
            raise ClientError(f"retries= is 0 or more, not {self.retries}")
        for name in ("connections", "max_response"):
            if getattr(self, name) < 1:
                raise ClientError(f"{name}= is 1 or more, not {getattr(self, name)}")


class Session:
    """Connections to one server."""

    def __init__(
        self,
        address: Address,
        network: Network,
        headers: Mapping[str, str],
        options: Options,
    ) -> None:
        self.options = options
        self.network = network
        self.address = address
        self._headers = headers
        self._idle = _Idle()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        deadline: Deadline,
        retries: int | None = None,
        fresh: bool = False,
    ) -> Response:
        """Return the response to a request; attempts that were shed are made again.

        Args:
            method: of HTTP.
            path: behind the address.
            body: of the request.
            headers: beside those that all requests have.
            deadline: of all attempts together; the server is told what is left of it.
            retries: other than usual.
            fresh: take no connection that was used before. Of such a one, the server may have
                closed it just now, and the request would be sent a second time.

        Raises:
            DeadlineError: the time is over.
            UnreachableError: there is no connection, or it was cut.
            ResponseError: what came is no response.
        """
        retries = self.options.retries if retries is None else retries
        path = self.address.prefix + path
        for attempt in range(retries + 1):
            given = {**self._headers, **(headers or {}), **_time_left(deadline)}
            head = request_head(method, path, self.address.shown, given, len(body))
            response = await self._exchange(head, body, deadline, fresh=fresh)
            if response.status not in SHED or attempt == retries:
                break
            pause = pause_before(attempt, retry_after(response.headers))
            if pause > LONGEST_WAIT or not deadline.allows(pause):
                break
            await self.network.sleep(pause)
        return response

    async def _exchange(
        self, head: bytes, body: bytes, deadline: Deadline, *, fresh: bool
    ) -> Response:
        await self.network.enter(deadline)
        try:
            kept = None if fresh else self._idle.take()
            if kept is not None:
                try:
                    return await self._talk(kept, head, body, deadline)
                except SilentError:
                    pass  # the server had closed it meanwhile
            try:
                stream = await self.network.connect(self.address, deadline)
            except OSError as error:
                where = self.address.shown
                raise UnreachableError(f"cannot connect to {where}: {_said(error)}") from None
            return await self._talk(stream, head, body, deadline)
        finally:
            self.network.leave()

    async def _talk(self, stream: Stream, head: bytes, body: bytes, deadline: Deadline) -> Response:
        begun = False

        async def receive() -> bytes:
            nonlocal begun
            try:
                data = await stream.receive(deadline)
            except OSError as error:
                kind = UnreachableError if begun else SilentError
                raise kind(f"the connection was cut: {_said(error)}") from None
            begun = begun or bool(data)
            return data

        whole = False
        try:
            # A server that refuses a body before its end says why, and closes the connection.
            with contextlib.suppress(OSError):
                if len(body) <= _SMALL:
                    whole = await stream.send(head + body, deadline)
                else:
                    whole = await stream.send(head, deadline) and await stream.send(body, deadline)
            response = await read_response(receive, self.options.max_response)
        except BaseException:
            stream.close()
            raise
        if whole and response.keep:
            self._idle.keep(stream)
        else:
            stream.close()
        return response

    def close(self) -> None:
        """Close the connections that are idle; those in use are closed after their answers."""
        self._idle.close()


class _Idle:
    """Connections that nobody uses now; the one that was used last is taken first."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    def take(self) -> Stream | None:
        while True:
            with self._lock:
                if self._process != os.getpid():
                    # After a fork they are the parent's, and two would talk on one connection.
                    self._process, self._streams = os.getpid(), []
                if not self._streams:
                    return None
                stream = self._streams.pop()
            if stream.usable():
                return stream
            stream.close()

    def keep(self, stream: Stream) -> None:
        with self._lock:
            if not self._closed and self._process == os.getpid():
                self._streams.append(stream)
                return
        stream.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.close()


def _time_left(deadline: Deadline) -> dict[str, str]:
    left = deadline.left()
    if left is None:
        return {}
    return {TIMEOUT_HEADER: str(min(max(1, int(left * 1000)), MAX_TIMEOUT_MS))}


def _said(error: OSError) -> str:
    return one_line(error.strerror or error) or type(error).__name__


def pause_before(attempt: int, wished: float | None) -> float:
    """Return how many seconds to wait after an attempt, counted from 0.

    Half of it is by chance, so that those who were shed together do not come back together.

    Args:
        attempt: that was shed.
        wished: what the server said; it is waited for in any case.
    """
    pause = min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE)
    return (wished or 0.0) + pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the header ``Retry-After`` says; None if it says nothing.

    Of a date, they count from the server's own, because clocks differ.
    """
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    when = _seconds_of(said)
    if when is None:
        return None
    now = _seconds_of(headers.get("date", ""))
    return max(0.0, when - (time.time() if now is None else now))


def _seconds_of(date: str) -> float | None:
    from email.utils import parsedate_to_datetime  # slow to import, and seldom needed

    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
