"""Frames of ``baidu_std`` out of the bytes of a connection, and into them.

A frame is ``PRPC``, the size of its body and the size of the meta in it, as big-endian ``u32``;
then the body: the meta, the message and what is attached to it.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fleetnet.serving.brpc.meta import RpcMeta

MAGIC = b"PRPC"
_HEADER = struct.Struct("!4sII")
ROOM = 32 * 2**10
"""Bytes of a connection's own memory; what is larger is received where it stays."""
JOINED = 64 * 2**10
"""Bytes up to which an answer is copied together, to be sent at once."""


class FrameError(Exception):
    """What came is no frame, so that nothing after it can be understood."""


class Meta(NamedTuple):
    """The beginning of a frame.

    Attributes:
        data: its meta.
        rest: bytes that follow it.
        begun: when its first byte came.
    """

    data: bytes
    rest: int
    begun: float


class Rest(NamedTuple):
    """The end of a frame; the data are None if they were passed over."""

    data: bytes | memoryview | None


class Frames:
    """Cuts what a connection receives into frames.

    Nothing is received into memory that was not asked for by its consumer, who may pass over a
    frame once its meta is known: the frames after it are still understood.

    Args:
        max_meta: bytes of a meta.
        clock: in seconds.

    Attributes:
        begun: when the first byte of the frame came that is not whole yet; None between frames.
    """

    def __init__(self, max_meta: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.begun: float | None = None
        self._clock = clock
        self._max_meta = max_meta
        self._own = memoryview(bytearray(max(ROOM, _HEADER.size + max_meta)))
        self._start = self._end = 0
        self._meta: int | None = None  # sizes, once the header is known
        self._rest: int | None = None  # once the meta is, too
        self._large: memoryview | None = None
        self._filled = 0
        self._skipping = False
        self._left = 0

    @property
    def held(self) -> int:
        """Bytes of the rest of an unfinished frame that are in memory."""
        if self._large is not None:
            return self._filled
        return 0 if self._rest is None or self._skipping else self._end - self._start

    def room(self) -> memoryview:
        """Return where the next bytes belong, at least one."""
        if self._left:
            return self._own[: self._left]
        if self._large is not None:
            return self._large[self._filled :]
        if self._start:
            size = self._end - self._start
            self._own[:size] = self._own[self._start : self._end]
            self._start, self._end = 0, size
        return self._own[self._end :]

    def skip(self) -> None:
        """Pass over the rest of the frame whose meta was given last, unless it is whole."""
        self._skipping = self._meta is not None
        if self._large is not None:
            self._left = len(self._large) - self._filled
            self._large = None

    def received(self, size: int) -> Iterator[Meta | Rest]:
        """Count bytes that came into :meth:`room`, and yield what they complete.

        Raises:
            FrameError: they are no frame.
        """
        if self._left:
            self._left -= size
            if not self._left:
                yield self._done(None)
        elif self._large is not None:
            self._filled += size
            if self._filled == len(self._large):
                yield self._done(self._large)
        else:
            self._end += size
            yield from self._cut()

    def _cut(self) -> Iterator[Meta | Rest]:
        while self._meta is not None or self._header():
            if self._rest is None:
                meta = self._whole_meta()
                if meta is None:
                    return
                yield meta
            elif (rest := self._whole_rest(self._rest)) is not None:
                yield rest
            else:
                return

    def _header(self) -> bool:
        """Read the header that comes next, and tell whether it is there."""
        if self._start == self._end:
            return False
        if self.begun is None:
            self.begun = self._clock()
        found = self._own[self._start : min(self._end, self._start + _HEADER.size)]
        if found[:4] != MAGIC[: len(found)]:
            raise FrameError("what it sent does not begin with PRPC")
        if len(found) < _HEADER.size:
            return False
        _, body, meta = _HEADER.unpack(found)
        if meta > body:
            raise FrameError(f"a meta of {meta} bytes is not within a body of {body}")
        if meta > self._max_meta:
            raise FrameError(f"a meta of {meta} bytes is larger than {self._max_meta}")
        self._start += _HEADER.size
        self._meta, self._body = meta, body
        return True

    def _whole_meta(self) -> Meta | None:
        assert self._meta is not None  # noqa: S101 - the header is known
        assert self.begun is not None  # noqa: S101 - as it has begun
        if self._end - self._start < self._meta:
            return None
        data = bytes(self._own[self._start : self._start + self._meta])
        self._start += self._meta
        self._rest = self._body - self._meta
        return Meta(data, self._rest, self.begun)

    def _whole_rest(self, size: int) -> Rest | None:
        here = min(self._end - self._start, size)
        if here == size:
            data = self._own[self._start : self._start + size]
            self._start += size
            return self._done(None if self._skipping else bytes(data))
        if self._skipping:
            self._left = size - here
            self._start = self._end = 0
        elif size > len(self._own):
            # Not zeroed: memory that nothing was received into is not taken from the system.
            self._large = np.empty(size, np.uint8).data
            self._large[:here] = self._own[self._start : self._end]
            self._filled = here
            self._start = self._end = 0
        return None

    def _done(self, data: bytes | memoryview | None) -> Rest:
        self.begun = self._meta = self._rest = self._large = None
        self._filled = 0
        self._skipping = False
        return Rest(data)


def packed(meta: RpcMeta, message: bytes = b"", attachment: bytes = b"") -> list[bytes]:
    """Return a frame, in pieces that are sent one after the other."""
    head = meta.SerializeToString()
    size = len(head) + len(message) + len(attachment)
    pieces = [_HEADER.pack(MAGIC, size, len(head)) + head, message, attachment]
    return [b"".join(pieces)] if size <= JOINED else [piece for piece in pieces if piece]
