"""Files that were decoded before give the pixels that they gave, however their header is read."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fleetnet import native
from fleetnet.data.augment import Augment
from fleetnet.data.sound_image import SoundJpeg, open_sound
from fleetnet.errors import ImageError
from fleetnet.images import OpenImage
from fleetnet.orientation import TAG
from fleetnet.preprocess import Preprocess
from samples import draw, encode

PICTURE = draw("circle", np.random.default_rng(4), (171, 122))
PLAIN = encode(PICTURE, "JPEG", quality=80)
AUGMENT = Augment(Preprocess(resize=32, crop=32), min_scale=0.08)

compiled = pytest.mark.skipif(native.jpeg is None, reason="compiled without libjpeg-turbo")


def with_segment(marker: int, content: bytes) -> bytes:
    """Return the picture with one more segment in its header."""
    return PLAIN[:2] + bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2) + content + PLAIN[2:]


def variants() -> dict[str, bytes]:
    several = io.BytesIO()
    PICTURE.save(several, "MPO", save_all=True, append_images=[PICTURE.rotate(9)])
    turned = Image.Exif()
    turned[TAG] = 6
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + b'<x tiff:Orientation="6"/>'
    return {
        "turned": encode(PICTURE, "JPEG", exif=turned.tobytes()),
        "turned by XMP": with_segment(0xE1, xmp),
        "CMYK": encode(PICTURE.convert("CMYK"), "JPEG"),
        "Adobe": with_segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"),
        "several": several.getvalue(),
        "no end": PLAIN[:-2],
        "PNG": encode(PICTURE, "PNG"),
    }


@compiled
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_plain_files_are_opened_by_their_size_alone(mode: str, progressive: bool) -> None:
    data = encode(PICTURE.convert(mode), "JPEG", quality=80, progressive=progressive)
    image = open_sound(data)
    assert isinstance(image, SoundJpeg)
    whole = OpenImage(data)
    assert (image.width, image.height) == (whole.width, whole.height)
    for shrink in (1, 2, 4, 8):
        assert image.size(shrink) == whole.size(shrink)
        width, height = image.size(shrink)
        box = (width // 5, height // 4, width - 1, height)
        expected = whole.decode(shrink)[box[1] : box[3], box[0] : box[2]]
        assert np.array_equal(image.decode_part(box, shrink), expected)


@pytest.mark.parametrize("what", variants())
def test_others_are_left_to_pillow(what: str) -> None:
    assert isinstance(open_sound(variants()[what]), OpenImage)


def test_photographs_are_varied_alike_in_every_epoch(photos: list[Path]) -> None:
    for seed, photo in enumerate(photos[::10]):
        data = photo.read_bytes()
        first, later = (
            AUGMENT.from_bytes(data, np.random.default_rng(seed), sound=sound)
            for sound in (False, True)
        )
        assert np.array_equal(first, later)


@compiled
@given(st.integers(0, 700), st.integers(0, 255), st.integers(0, 400))
def test_what_was_changed_since_is_an_error_or_what_pillow_makes_of_it(
    place: int, value: int, cut: int
) -> None:
    """A file may be replaced between two epochs; a size that is not true is never believed."""
    changed = bytearray(PLAIN)
    changed[place % len(changed)] = value
    data = bytes(changed[: len(changed) - cut]) if cut % 2 else bytes(changed)
    try:
        image = open_sound(data)
        pixels = image.decode_part((0, 0, *image.size(1)))
    except ImageError:
        return
    assert pixels.shape == (image.height, image.width, 3)
