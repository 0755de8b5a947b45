"""One picture in every format that is read, and what is known of its decoding."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from pillow_heif import from_bytes, from_pillow

from samples import draw, encode

PICTURE = draw("circle", np.random.default_rng(0))
SMALL = PICTURE.resize((48, 40))
GREY16 = (np.arange(48 * 40, dtype=np.uint16) * 30).reshape(40, 48)


class Encoded(NamedTuple):
    """A file.

    Attributes:
        name: of the case.
        ending: of the file's name.
        format: as it is known.
        data: its content.
        exact: whether the format keeps every pixel of :data:`SMALL`.
    """

    name: str
    ending: str
    format: str
    data: bytes
    exact: bool = True


def heic(image: Image.Image, **options: object) -> bytes:
    """Encode a Pillow image as HEIC."""
    buffer = io.BytesIO()
    from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def heic_of_ten_bits(samples: npt.NDArray[np.uint16]) -> bytes:
    """Encode ``uint16[H, W]`` or ``[H, W, 3]``, of which ten bits are kept."""
    height, width = samples.shape[:2]
    mode = "RGB;16" if samples.ndim == 3 else "L;16"
    buffer = io.BytesIO()
    file = from_bytes(mode=mode, size=(width, height), data=samples.tobytes())
    file.save(buffer, quality=-1, chroma=444)
    return buffer.getvalue()


def every_format() -> list[Encoded]:
    """Return :data:`SMALL` in every format, in the ways of storing it that matter."""
    palette = SMALL.quantize(64)
    deep = Image.fromarray(GREY16)
    second = Image.new("RGB", SMALL.size)
    return [
        Encoded("jpeg", ".jfif", "JPEG", encode(SMALL), exact=False),
        Encoded("progressive", ".jpe", "JPEG", encode(SMALL, progressive=True), exact=False),
        Encoded(
            "mpo",
            ".mpo",
            "JPEG",
            encode(SMALL, "MPO", save_all=True, append_images=[second]),
            exact=False,
        ),
        Encoded("png", ".png", "PNG", encode(SMALL, "PNG")),
        Encoded("png palette", ".png", "PNG", encode(palette, "PNG"), exact=False),
        Encoded("png 16", ".png", "PNG", encode(deep, "PNG"), exact=False),
        Encoded(
            "apng", ".apng", "PNG", encode(SMALL, "PNG", save_all=True, append_images=[second])
        ),
        Encoded("webp", ".webp", "WEBP", encode(SMALL, "WEBP"), exact=False),
        Encoded("webp lossless", ".webp", "WEBP", encode(SMALL, "WEBP", lossless=True)),
        Encoded("avif", ".avif", "AVIF", encode(SMALL, "AVIF", quality=90), exact=False),
        Encoded("heic", ".heic", "HEIF", heic(SMALL, quality=90), exact=False),
        Encoded("tiff", ".tif", "TIFF", encode(SMALL, "TIFF")),
        Encoded("tiff lzw", ".tiff", "TIFF", encode(SMALL, "TIFF", compression="tiff_lzw")),
        Encoded("tiff 16", ".tiff", "TIFF", encode(deep, "TIFF"), exact=False),
        Encoded("gif", ".gif", "GIF", encode(palette, "GIF"), exact=False),
        Encoded("bmp", ".bmp", "BMP", encode(SMALL, "BMP")),
        Encoded("dib", ".dib", "DIB", encode(SMALL, "DIB")),
        Encoded("ppm", ".ppm", "PPM", encode(SMALL, "PPM")),
        Encoded("pgm 16", ".pgm", "PPM", encode(deep, "PPM"), exact=False),
        Encoded("pbm", ".pbm", "PPM", encode(SMALL.convert("1"), "PPM"), exact=False),
        Encoded("jp2", ".jp2", "JPEG2000", encode(SMALL, "JPEG2000")),
        Encoded("j2k", ".j2k", "JPEG2000", encode(SMALL, "JPEG2000", no_jp2=True)),
        Encoded("jp2 in tiles", ".jpx", "JPEG2000", encode(SMALL, "JPEG2000", tile_size=(32, 32))),
        Encoded("ico", ".ico", "ICO", encode(SMALL, "ICO", sizes=[SMALL.size])),
        Encoded(
            "ico of bitmaps",
            ".ico",
            "ICO",
            encode(SMALL, "ICO", sizes=[SMALL.size], bitmap_format="bmp"),
        ),
        Encoded("qoi", ".qoi", "QOI", encode(SMALL, "QOI")),
        Encoded("tga", ".tga", "TGA", encode(SMALL, "TGA")),
        Encoded("tga in runs", ".tga", "TGA", encode(SMALL, "TGA", compression="tga_rle")),
        Encoded("tga palette", ".tga", "TGA", encode(palette, "TGA"), exact=False),
    ]


EVERY = every_format()
