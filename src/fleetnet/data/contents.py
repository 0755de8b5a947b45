"""Images recognised by their content, whatever their name and place."""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
import numpy.typing as npt

from fleetnet.data.reading import for_each
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.samples import Indices
from fleetnet.errors import ImageError
from fleetnet.reporting import Advance

Contents = npt.NDArray[np.uint64]
"""A number for each image, which depends on nothing but its encoded bytes."""
NONE: Contents = np.empty(0, np.uint64)
NONE.flags.writeable = False
BYTES = 8
"""Of a number: among a million images remembered and a million looked for, the chance that any one
is taken for another is 1 in 20 million; with four bytes 230 of them would be."""
DIGEST_BYTES = 16


def content_of(data: bytes) -> int:
    """Return the number of an image: BLAKE2b of 64 bits of its encoded bytes, little-endian."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=BYTES).digest(), "little")


def digest_of(data: bytes) -> bytes:
    """Return BLAKE2b of 128 bits of encoded bytes: no two images of any data have the same."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def are_among(
    source: Source, indices: Indices, known: Contents, advance: Advance = lambda _: None
) -> npt.NDArray[np.bool_]:
    """Return for each sample whether its content is among the known ones, ``bool[N]``.

    Each image is read once; one that cannot be read is not among them.

    Args:
        source: of the images.
        indices: which of them.
        known: their numbers, in any order.
        advance: called with a count as images are read.
    """
    contents = np.zeros(len(indices), np.uint64)
    readable = np.zeros(len(indices), bool)
    for place, (_, content) in enumerate(for_each(source, partial(_read, source), indices)):
        if content is not None:
            contents[place], readable[place] = content, True
        advance(1)
    return readable & np.isin(contents, known)


def to_bytes(contents: Contents) -> bytes:
    """Return the numbers as they are kept in a file: eight bytes each, little-endian, sorted."""
    return np.unique(contents).astype("<u8").tobytes()


def from_bytes(data: bytes) -> Contents:
    """Return the numbers of a file; an incomplete one at the end is ignored."""
    return np.frombuffer(data, "<u8", len(data) // BYTES).astype(np.uint64)


class Remembered:
    """The contents of a growing number of images, each once."""

    def __init__(self, contents: Contents = NONE) -> None:
        self._known = np.unique(contents)
        self._new: list[Contents] = []

    def add(self, contents: Contents) -> None:
        """Add more of them, whether known or new."""
        if len(contents):
            self._new.append(contents)

    def contents(self) -> Contents:
        """Return all that were added, sorted."""
        if self._new:
            self._known = np.unique(np.concatenate([self._known, *self._new]))
            self._new.clear()
        return self._known


def _read(source: Source, index: int) -> int | None:
    try:
        return content_of(source.read(index))
    except ImageError:
        return None
