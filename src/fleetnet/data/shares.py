"""Which images of a batch each of several processes loads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fleetnet.data.sampling import Draw
from fleetnet.data.splits import Indices


class Place(NamedTuple):
    """The place of one process among those that train together."""

    rank: int = 0
    """From 0."""
    size: int = 1
    """How many processes there are."""


ALONE = Place()
"""Of a process that loads every image."""


def share(images: int, place: Place) -> Indices:
    """Return the positions in a batch of so many images that the process at ``place`` loads.

    Each position is in one share. An image and the one it is mixed with, which is as far from the
    end of the batch as it is from the start (:class:`fleetnet.data.mix.Mix`), are in the same
    share, in mirrored positions: so mixing share by share is mixing the batch. A share has at least
    two images, for the variance in batch norm, or none: a small batch leaves the last processes
    without.
    """
    pairs = images // 2
    sharers = max(min(place.size, pairs), 1)
    if place.rank >= sharers:
        return np.empty(0, np.intp)
    # The first of them have one pair more where the pairs do not come out even.
    even, more = divmod(pairs, sharers)
    start = place.rank * even + min(place.rank, more)
    first = np.arange(start, start + even + (place.rank < more))
    has_middle = images % 2 and place.rank == sharers - 1
    middle = np.array([pairs] if has_middle else [], np.intp)
    return np.concatenate([first, middle, images - 1 - first[::-1]])


def shared(draw: Draw, place: Place) -> Draw:
    """Return the share of a batch that the process at ``place`` loads."""
    if place.size == 1:
        return draw
    positions = share(len(draw.indices), place)
    return Draw(draw.epoch, draw.indices[positions], draw.copies[positions])
