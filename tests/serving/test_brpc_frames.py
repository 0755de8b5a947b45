"""The parser of frames: however the bytes are cut, and whatever they are."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetnet.serving.brpc.frames import JOINED, ROOM, FrameError, Frames, Meta, Rest, packed
from fleetnet.serving.brpc.meta import RpcMeta
from serving.brpc_client import field_of, request
from serving.brpc_client import packed as frame_of

LIMIT = 1000


class Fed:
    """What a parser makes of pieces.

    Attributes:
        metas: that it gave.
        rests: that followed them; None where they were passed over.
        most: the largest number of bytes that it said to hold.
    """

    def __init__(self, pieces: Iterable[bytes], skipped: Iterable[bool] = ()) -> None:
        self.metas: list[bytes] = []
        self.rests: list[bytes | None] = []
        self.most = 0
        self.frames = Frames(LIMIT)
        skips = list(skipped)
        for piece in pieces:
            left = memoryview(piece)
            while left:
                room = self.frames.room()
                size = min(len(room), len(left))
                assert size > 0
                room[:size] = left[:size]
                left = left[size:]
                for event in self.frames.received(size):
                    self._take(event, skips)
                self.most = max(self.most, self.frames.held)

    def _take(self, event: Meta | Rest, skips: list[bool]) -> None:
        if isinstance(event, Meta):
            if len(skips) > len(self.metas) and skips[len(self.metas)]:
                self.frames.skip()
            self.metas.append(event.data)
        else:
            self.rests.append(None if event.data is None else bytes(event.data))


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(marks)]


bodies = st.lists(
    st.tuples(
        st.binary(max_size=50),
        st.one_of(
            st.binary(max_size=100),
            st.integers(0, 3 * ROOM).map(lambda size: bytes(range(256)) * (size // 256)),
        ),
    ),
    max_size=5,
)


@given(bodies, st.lists(st.integers(0), max_size=20), st.lists(st.booleans(), max_size=5))
def test_frames_are_the_same_however_they_are_cut(
    sent: list[tuple[bytes, bytes]], places: list[int], skipped: list[bool]
) -> None:
    data = b"".join(frame_of(meta, rest) for meta, rest in sent)
    fed = Fed(cut(data, places), skipped)
    assert fed.metas == [meta for meta, _ in sent]
    skips = [*skipped, *[False] * len(sent)]
    assert fed.rests == [
        None if skip else rest for (_, rest), skip in zip(sent, skips, strict=False)
    ]
    assert fed.frames.begun is None
    assert fed.frames.held == 0


def test_frames_are_the_same_when_they_are_split_at_every_byte() -> None:
    data = (
        frame_of(b"meta", b"rest") + frame_of(b"", b"") + frame_of(b"m", b"") + frame_of(b"", b"r")
    )
    whole = Fed([data])
    assert whole.metas == [b"meta", b"", b"m", b""]
    assert whole.rests == [b"rest", b"", b"", b"r"]
    for place in range(len(data) + 1):
        fed = Fed([data[:place], data[place:]])
        assert (fed.metas, fed.rests) == (whole.metas, whole.rests)
    fed = Fed(data[place : place + 1] for place in range(len(data)))
    assert (fed.metas, fed.rests) == (whole.metas, whole.rests)


@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(0), max_size=5))
def test_garbage_is_an_error_or_waits_for_more(data: bytes, places: list[int]) -> None:
    try:
        fed = Fed(cut(data, places))
    except FrameError:
        return
    assert data.startswith(b"PRPC") or b"PRPC".startswith(data)
    assert len(fed.rests) <= len(fed.metas) <= len(fed.rests) + 1


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_sizes_are_believed_only_as_far_as_bytes_have_come(body: int, meta: int) -> None:
    header = struct.pack("!4sII", b"PRPC", body, meta)
    if meta > body or meta > LIMIT:
        with pytest.raises(FrameError):
            Fed([header])
    else:
        fed = Fed([header, bytes(10)][: 1 + (body > 10)])
        assert fed.frames.held <= 10


def test_a_frame_that_is_cut_off_is_held_no_larger_than_it_came() -> None:
    large = 100 * ROOM
    header = struct.pack("!4sII", b"PRPC", large, 0)
    fed = Fed([header, bytes(10 * ROOM)])
    assert fed.metas == [b""]
    assert fed.most == fed.frames.held == 10 * ROOM
    assert fed.frames.begun is not None
    fed.frames.skip()
    assert fed.frames.held == 0


@given(st.binary(max_size=30), st.sampled_from([0, 10, JOINED, 3 * JOINED]))
@settings(deadline=None)
def test_what_is_packed_is_read_again(message: bytes, size: int) -> None:
    pieces = packed(RpcMeta(correlation_id=5), message, bytes(size))
    fed = Fed(pieces)
    assert fed.metas == [field_of(4, 5)]
    assert fed.rests == [message + bytes(size)]
    assert len(pieces) == 1 or size >= JOINED


def test_a_client_written_from_the_description_is_understood() -> None:
    (meta,) = Fed([request("Method", b"message", correlation=-1, timeout_ms=-1)]).metas
    read = RpcMeta.FromString(meta)
    assert read.correlation_id == -1
    assert (read.request.method_name, read.request.timeout_ms) == ("Method", -1)
