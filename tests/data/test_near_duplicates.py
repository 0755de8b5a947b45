import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fleetnet.data.near_duplicates import MAX_DISTANCE, near_pairs, open_hasher
from fleetnet.errors import FleetnetError
from samples import draw


def brute_force(hashes: list[int], distance: int) -> dict[tuple[int, int], int]:
    pairs = itertools.combinations(range(len(hashes)), 2)
    bits = {(one, other): (hashes[one] ^ hashes[other]).bit_count() for one, other in pairs}
    return {pair: number for pair, number in bits.items() if number <= distance}


@st.composite
def clustered(draw_from: st.DrawFn) -> list[int]:
    """Hashes near a few centres: random ones are hardly ever near each other."""
    centres = draw_from(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=8)
    members = st.tuples(st.sampled_from(centres), flips)
    hashes = []
    for centre, places in draw_from(st.lists(members, max_size=25)):
        for place in places:
            centre ^= 1 << place
        hashes.append(centre)
    return hashes


@given(clustered(), st.integers(0, MAX_DISTANCE))
def test_bands_find_what_comparing_all_pairs_finds_each_once(
    hashes: list[int], distance: int
) -> None:
    found = [
        ((int(one), int(other)), int(bits))
        for pairs in near_pairs(np.array(hashes, np.uint64), distance)
        for one, other, bits in zip(*pairs, strict=True)
    ]
    assert len(found) == len(dict(found))
    assert dict(found) == brute_force(hashes, distance)


def test_the_same_picture_in_another_size_and_brightness_has_nearly_the_same_hash() -> None:
    hasher = open_hasher()
    rng = np.random.default_rng(3)
    image = draw("circle", rng, (320, 240))
    half = image.resize((160, 120), Image.Resampling.BICUBIC)
    darker = image.point(lambda value: int(value * 0.8))
    other = draw("square", rng, (320, 240))
    hashes = [hasher(np.asarray(one)) for one in (image, half, darker, other)]
    distances = [(hashes[0] ^ one).bit_count() for one in hashes]
    assert max(distances[:3]) <= 4 < distances[3]
    assert all(0 <= one < 2**64 for one in hashes)


def test_without_imagehash_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(FleetnetError, match=r"ImageHash.*pip install 'fleetnet\[check\]'"):
        open_hasher()
