"""Images that look alike, found by perceptual hashes without comparing every pair."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetnet.errors import FleetnetError, require
from fleetnet.images import Pixels

BITS = 64
MAX_DISTANCE = 12
"""Beyond this, unrelated photographs match, and the bands get too narrow to exclude pairs."""

USUAL_DISTANCE = 4

Hashes = npt.NDArray[np.uint64]
Hasher = Callable[[Pixels], int]


class Pairs(NamedTuple):
    """Some pairs of hashes, as arrays of one length."""

    first: npt.NDArray[np.intp]
    """Index of the one."""
    second: npt.NDArray[np.intp]
    """Index of the other."""
    distance: npt.NDArray[np.uint8]
    """How many of the 64 bits differ."""


def open_hasher() -> Hasher:
    """Return a function that maps RGB pixels to a 64-bit hash: ImageHash's ``phash``.

    Each bit says whether one of the 8×8 lowest frequencies of the grey image is above their median,
    so the same picture in another size, compression or brightness has nearly the same bits.

    Raises:
        FleetnetError: the package ImageHash is not installed.
    """
    try:
        import imagehash
    except ModuleNotFoundError:
        raise _no_hasher() from None

    def hashed(pixels: Pixels) -> int:
        bits = imagehash.phash(Image.fromarray(pixels)).hash
        return int.from_bytes(np.packbits(bits).tobytes(), "big")

    # phash imports SciPy at its first call: better here than in several threads at once.
    hashed(np.zeros((8, 8, 3), np.uint8))
    return hashed


def usual_distance() -> tuple[int | None, str]:
    """Return in how many bits near duplicates may differ if nobody says.

    Returns:
        :data:`USUAL_DISTANCE`, and no words; or None, to look for none, if the package ImageHash is
        not installed, and a line that says so.
    """
    if importlib.util.find_spec("imagehash") is None:
        return None, str(_no_hasher())
    return USUAL_DISTANCE, ""


def _no_hasher() -> FleetnetError:
    return require("ImageHash", "check", "looking for near duplicates")


def near_pairs(hashes: Hashes, distance: int) -> Iterator[Pairs]:
    """Yield all pairs that differ in at most ``distance`` bits, each once, some at a time.

    The bits are cut into ``distance + 1`` bands: two hashes that differ in at most ``distance``
    bits are equal in at least one band, so only hashes that share a band are compared (the
    pigeonhole of Manku et al. 2007, "Detecting near-duplicates for web crawling"). Memory grows
    with the number of hashes, not of pairs.

    Args:
        hashes: ``uint64[N]``.
        distance: from 0 to :data:`MAX_DISTANCE`.
    """
    edges = np.linspace(0, BITS, distance + 2).astype(int)
    masks = [
        np.uint64((1 << int(high)) - (1 << int(low))) for low, high in itertools.pairwise(edges)
    ]
    for band, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        for ones, others in _same_in_band(hashes[order] & mask):
            first, second = order[ones], order[others]
            differing = hashes[first] ^ hashes[second]
            bits = np.bitwise_count(differing)
            # A pair that also shares an earlier band was yielded there.
            new = bits <= distance
            for earlier in masks[:band]:
                new &= (differing & earlier) != 0
            if new.any():
                first, second = first[new], second[new]
                yield Pairs(np.minimum(first, second), np.maximum(first, second), bits[new])


def _same_in_band(
    keys: Hashes,
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Yield the indices of pairs of equal keys in a sorted array: at distance 1, then 2, …."""
    ones = np.arange(len(keys))
    step = 1
    while len(ones):
        ones = ones[ones + step < len(keys)]
        ones = ones[keys[ones] == keys[ones + step]]
        yield ones, ones + step
        step += 1
