import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetnet.data.facts import THUMBNAIL, examine
from fleetnet.data.near_duplicates import open_hasher
from fleetnet.errors import ImageError
from fleetnet.images import decode
from samples import draw, encode

SHAPE = draw("circle", np.random.default_rng(1))
WIDE = draw("stripes", np.random.default_rng(2), (900, 500))


def exif(orientation: int) -> Image.Exif:
    values = Image.Exif()
    values[274] = orientation
    return values


def deep_colour() -> bytes:
    """A PNG of 16 bits a channel, which Pillow can read but not write."""
    import cv2

    pixels = np.random.default_rng(0).integers(0, 2**16, (20, 30, 3), np.uint16)
    return bytes(cv2.imencode(".png", pixels)[1])


@pytest.mark.parametrize(
    ("data", "format_and_mode"),
    [
        (encode(SHAPE), ("JPEG", "RGB")),
        (encode(SHAPE.convert("L")), ("JPEG", "grey")),
        (encode(SHAPE.convert("CMYK")), ("JPEG", "CMYK")),
        (encode(SHAPE.convert("RGBA"), "PNG"), ("PNG", "alpha")),
        (encode(SHAPE.convert("LA"), "PNG"), ("PNG", "alpha")),
        (encode(SHAPE.quantize(8), "PNG"), ("PNG", "palette")),
        (encode(SHAPE.quantize(8), "PNG", transparency=0), ("PNG", "alpha")),
        (encode(SHAPE.convert("1"), "PNG"), ("PNG", "grey")),
        (encode(SHAPE, "WEBP"), ("WEBP", "RGB")),
        (
            encode(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)), "PNG"),
            ("PNG", "16-bit"),
        ),
        (deep_colour(), ("PNG", "16-bit")),
    ],
)
def test_format_and_mode(data: bytes, format_and_mode: tuple[str, str]) -> None:
    facts = examine(data)
    assert (facts.format, facts.mode) == format_and_mode
    assert facts.file_size == len(data)


def test_a_turned_image_is_measured_upright() -> None:
    facts = examine(encode(WIDE, exif=exif(6)), thumbnail=True)
    assert (facts.width, facts.height, facts.turned) == (500, 900, True)
    assert facts.thumbnail is not None
    with Image.open(io.BytesIO(facts.thumbnail)) as thumbnail:
        assert thumbnail.height == THUMBNAIL > thumbnail.width
    facts = examine(encode(WIDE, exif=exif(3)))
    assert (facts.width, facts.height, facts.turned) == (900, 500, True)
    for orientation in (1, 0, 99):
        assert not examine(encode(WIDE, exif=exif(orientation))).turned


def test_a_damaged_exif_block_turns_nothing() -> None:
    data = encode(WIDE, exif=exif(6)).replace(b"Exif\0\0", b"Exif\0\0\xff\xff\xff", 1)
    assert not examine(data).turned


@pytest.mark.parametrize(
    ("image", "blank"),
    [
        (Image.new("RGB", (300, 200), "red"), True),
        (Image.new("L", (40, 40), 255), True),
        (Image.fromarray(np.random.default_rng(0).integers(100, 104, (64, 64), np.uint8)), True),
        (Image.linear_gradient("L"), False),
        (SHAPE, False),
    ],
)
def test_blank(image: Image.Image, blank: bool) -> None:
    assert examine(encode(image, "PNG")).blank is blank


def test_the_hash_of_a_scaled_decoding_is_near_that_of_the_whole_image() -> None:
    hasher = open_hasher()
    data = encode(WIDE, quality=90)
    assert (examine(data, hasher).hash ^ hasher(decode(data))).bit_count() <= 4


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"quality": 80}, {"progressive": True}, {"kind": "PNG"}])
def test_damage_is_found_as_in_decoding(options: dict[str, Any]) -> None:
    """What the check passes, training can read, and the other way round."""
    data = encode(WIDE, **options)
    verdicts = []
    for cut in range(0, len(data), max(len(data) // 40, 1)):
        results = []
        for read in (decode, examine):
            try:
                read(data[:cut])
                results.append("fine")
            except ImageError as error:
                results.append(str(error))
        assert results[0] == results[1], cut
        verdicts.append(results[0])
    assert any("damaged" in verdict for verdict in verdicts)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    header = bytearray(encode(Image.new("1", (8, 8)), "PNG"))
    header[16:24] = struct.pack(">II", 20_000, 20_000)
    header[29:33] = struct.pack(">I", zlib.crc32(header[12:29]))
    with pytest.raises(ImageError, match="million pixels"):
        examine(bytes(header))
