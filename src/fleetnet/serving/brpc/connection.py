"""A connection: many calls in flight, answered as they are done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import cast

from google.protobuf.message import DecodeError

from fleetnet.serving.brpc.calls import PROTOCOL, Calls, Incoming
from fleetnet.serving.brpc.frames import FrameError, Frames, Meta, Rest
from fleetnet.serving.brpc.meta import RpcMeta
from fleetnet.serving.budget import Budget
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import OverloadedError, UnauthenticatedError

IN_FLIGHT = 256
"""Calls of a connection that are answered at the same time; more are not read before."""
UNSENT = 256 * 2**10
"""Bytes of answers that wait for a client to read them, over which no more of it is read."""
log = logging.getLogger("fleetnet.serving")


class Connection(asyncio.BufferedProtocol):
    """What one client sends and gets.

    Args:
        opened: called with this when the connection stands; tells whether it may stay.
        closed: called with this when it is no more.
    """

    def __init__(
        self,
        calls: Calls,
        limits: LimitSettings,
        budget: Budget,
        opened: Callable[[Connection], bool],
        closed: Callable[[Connection], None],
    ) -> None:
        self._calls = calls
        self._limits = limits
        self._budget = budget
        self._opened = opened
        self._closed = closed
        self._frames = Frames(limits.header)
        self._transport: asyncio.Transport | None = None
        self._incoming: Incoming | None = None
        self._held = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._secret: str | None = None
        self._last = False
        self._ending = False
        self._stalled: float | None = None
        self._used = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, if there may be one more."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(UNSENT)
        if not self._opened(self):
            self._calls.count("overloaded")
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        """Cancel what nobody waits for any more."""
        self._transport = None
        self._budget.give_back(self._held)
        self._held = 0
        for task in self._tasks:
            task.cancel()
        self._closed(self)

    def get_buffer(self, _: int) -> memoryview:
        """Return where the next bytes belong."""
        return self._frames.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        self._used = time.monotonic()
        try:
            for event in self._frames.received(nbytes):
                if isinstance(event, Meta):
                    self._begin(event)
                else:
                    self._end(event)
                if self._ending:
                    return
            self._hold(self._frames.held)
        except FrameError as error:
            log.warning(
                "connection closed: %s",
                error,
                extra={"protocol": PROTOCOL, "address": self._peer()},
            )
            self._calls.count("invalid")
            self.abort()

    def _begin(self, event: Meta) -> None:
        """Decide on a call whose meta is there, before the rest of it is received."""
        try:
            meta = RpcMeta.FromString(event.data)
        except DecodeError:
            raise FrameError("its meta is no RpcMeta") from None
        if meta.authentication_data:
            # Clients give it in the first frame of a connection only.
            text = meta.authentication_data.decode("utf-8", "surrogateescape")
            self._secret = text.removeprefix("Bearer ").strip()
        self._incoming = Incoming(meta, event.begun, self._secret)
        try:
            self._calls.check(self._incoming, event.rest)
        except Exception as error:
            self._last |= isinstance(error, UnauthenticatedError)
            self._refuse(error)

    def _end(self, event: Rest) -> None:
        incoming, self._incoming = self._incoming, None
        if event.data is None or incoming is None:
            if self._last:
                self.finish()
            return
        self._incoming = incoming
        if self._hold(len(event.data)):
            held, self._held, self._incoming = self._held, 0, None
            work = self._answer(incoming, event.data, held)
            task = asyncio.get_running_loop().create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._done)
            if len(self._tasks) >= IN_FLIGHT and self._transport is not None:
                self._transport.pause_reading()

    def _hold(self, size: int) -> bool:
        """Count what is in memory of an unfinished frame; refuse it if all hold too much."""
        try:
            self._budget.take(size - self._held)
        except OverloadedError as error:
            self._refuse(error)
            return False
        self._held = size
        return True

    def _refuse(self, error: Exception) -> None:
        """Answer a call of which the rest is passed over."""
        self._budget.give_back(self._held)
        self._held = 0
        self._frames.skip()
        if self._incoming is not None:
            self._send(self._calls.refuse(self._incoming, error))
            self._incoming = None

    async def _answer(self, incoming: Incoming, rest: bytes | memoryview, held: int) -> None:
        try:
            self._send(await self._calls.answer(incoming, rest))
        finally:
            self._budget.give_back(held)

    def _send(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            if self._transport is not None:
                self._transport.write(piece)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._used = time.monotonic()
        if self._ending:
            self.finish()
        else:
            self._read_on()

    def _read_on(self) -> None:
        free = len(self._tasks) < IN_FLIGHT and self._stalled is None and not self._ending
        if free and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Read no more of a client that does not read itself."""
        self._stalled = time.monotonic()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._stalled = None
        self._read_on()

    def finish(self) -> None:
        """Take no more calls, and close when those that were taken are answered."""
        self._ending = True
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.pause_reading()
        if not self._tasks:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def is_too_slow(self, now: float) -> bool:
        """Tell whether a frame, or the reading of answers, takes longer than it may."""
        since = [one for one in (self._frames.begun, self._stalled) if one is not None]
        # While it is not read of, it cannot send.
        paused = self._stalled is None and len(self._tasks) >= IN_FLIGHT
        return not paused and any(now - one > self._limits.body_seconds for one in since)

    def idle(self, now: float) -> float:
        """Return for how many seconds nothing was asked and answered; 0 if something is."""
        busy = self._tasks or self._frames.begun is not None or self._stalled is not None
        return 0.0 if busy else now - self._used

    def _peer(self) -> str | None:
        name = self._transport.get_extra_info("peername") if self._transport else None
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else None
