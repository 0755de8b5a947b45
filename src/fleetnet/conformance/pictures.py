"""The pictures of the set, drawn and encoded by code: the same bytes each time.

They are drawn with integers only, so they depend on no library's random numbers and on no
processor's rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from fleetnet.conformance.encode import (
    GREY,
    GREY_ALPHA,
    RGB,
    RGB_ALPHA,
    encode,
    exif,
    flipped,
    png,
    with_jpeg_size,
    with_png_size,
)
from fleetnet.conformance.refusals import Kind

Pixels = npt.NDArray[np.uint8]
Deep = npt.NDArray[np.uint16]

_SIZE = (48, 38)
_ODD = (51, 37)
_TURN = 274
"""TIFF's orientation tag, which EXIF uses too."""


class Picture(NamedTuple):
    """An encoded picture of the set.

    Attributes:
        name: its file's name without the ending.
        ending: of its file.
        note: what a host can get wrong with it, for people.
        data: the file's content.
        sample_bits: how many bits of its 16-bit samples are used; None if that is not needed.
        large: whether it is decoded smaller if that is allowed.
        error: the kind of the expected error; None if it can be decoded.
    """

    name: str
    ending: str
    note: str
    data: bytes
    sample_bits: int | None = None
    large: bool = False
    error: Kind | None = None

    @property
    def file(self) -> str:
        """The file's name."""
        return self.name + self.ending


def all_pictures() -> list[Picture]:
    """Return the pictures of the set, in its order."""
    return [*_jpeg(), *_large_jpeg(), *_png(), *_deep(), *_other(), *_extreme(), *_refused()]


def drawing(width: int, height: int) -> Pixels:
    """Draw ramps, a disk, bars and a fine pattern, unlike their mirror images."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    red = x * 255 // max(width - 1, 1)
    green = y * 255 // max(height - 1, 1)
    blue = np.abs((x * 3 * 512 // width + y * 512 // height) % 510 - 255)
    planes = np.stack([red, green, blue], axis=2)
    disk = (3 * x - width) ** 2 * height**2 + (3 * y - height) ** 2 * width**2
    planes[disk < (width * height) ** 2 // 2] = (230, 40, 60)
    bars = (x * 4 > width * 3) & (y * 12 // height % 2 == 0)
    planes[bars] = (20, 200, 90)
    fine = (y * 4 > height * 3) & (x * 2 < width)
    planes[fine] ^= ((x + y) % 2 * 48)[fine][:, None]
    return planes.astype(np.uint8)


def _deep_drawing(width: int, height: int, bits: int) -> Deep:
    """Draw colours of ``bits`` bits, in which the lower bits matter."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    upper = drawing(width, height).astype(np.int64) << (bits - 8)
    lower = (x * 37 + y * 101)[..., None] % (1 << (bits - 8))
    samples: Deep = (upper + lower).astype(np.uint16)
    return samples


def _jpeg() -> Iterator[Picture]:
    plain, odd = drawing(*_SIZE), drawing(*_ODD)
    whole = encode(plain, "JPEG", quality=90)

    def jpeg(name: str, note: str, data: bytes) -> Picture:
        return Picture(f"jpeg-{name}", ".jpg", note, data)

    yield jpeg("baseline", "4:2:0, sides that the blocks do not divide", whole)
    for name, subsampling in (("444", "4:4:4"), ("422", "4:2:2"), ("420", "4:2:0")):
        data = encode(odd, "JPEG", quality=85, subsampling=subsampling)
        yield jpeg(f"{name}-odd", f"{subsampling} with odd sides", data)
    data = encode(plain, "JPEG", quality=85, progressive=True)
    yield jpeg("progressive", "in several scans", data)
    data = encode(odd, "JPEG", quality=85, progressive=True, subsampling="4:2:2")
    yield jpeg("progressive-odd", "in several scans, 4:2:2 with odd sides", data)
    data = encode(plain, "JPEG", quality=85, restart_marker_blocks=2)
    yield jpeg("restart", "with restart markers", data)
    data = encode(plain[:, :, 0], "JPEG", quality=85)
    yield jpeg("grey", "one component", data)
    data = encode(Image.fromarray(plain).convert("CMYK"), "JPEG", quality=90)
    yield jpeg("cmyk", "four components, inverted as Adobe's programs do", data)
    data = encode(plain, "JPEG", quality=90, keep_rgb=True)
    yield jpeg("rgb", "stored as RGB, which Adobe's marker says", data)
    yield jpeg("without-end", "lacks only its end marker, and is whole", whole[:-2])
    yield jpeg("trailing", "something else behind its end", whole + b"behind the end")
    for turn in range(1, 10):
        data = encode(odd, "JPEG", quality=85, exif=exif(turn))
        note = f"EXIF orientation {turn}" + (", which means nothing" if turn > 8 else "")
        yield jpeg(f"turned-{turn}", note, data)


def _large_jpeg() -> Iterator[Picture]:
    """Return JPEGs that are decoded smaller if allowed, with sides of all remainders."""
    for name, size, turn, options in (
        ("2", (153, 139), 1, {}),
        ("2-turned", (141, 155), 8, {}),
        ("2-grey", (151, 140), 3, {}),
        ("2-progressive", (149, 137), 2, {"progressive": True}),
        ("4", (281, 277), 6, {}),
        ("8", (549, 547), 3, {"subsampling": "4:4:4"}),
    ):
        pixels = drawing(*size)
        stored = pixels[:, :, 1] if name.endswith("grey") else pixels
        data = encode(stored, "JPEG", quality=50, exif=exif(turn), **options)
        note = f"large enough to be decoded at 1/{name[0]}, EXIF orientation {turn}"
        yield Picture(f"jpeg-scaled-{name}", ".jpg", note, data, large=True)


def _png() -> Iterator[Picture]:
    plain = drawing(*_SIZE)
    alpha = plain[::-1, ::-1, 2:]
    odd = drawing(*_ODD)

    def picture(name: str, note: str, data: bytes) -> Picture:
        return Picture(f"png-{name}", ".png", note, data)

    yield picture("rgb", "8 bits a sample", png(plain, RGB))
    yield picture("grey", "one sample a pixel", png(plain[:, :, :1], GREY))
    data = png(np.dstack([plain, alpha]), RGB_ALPHA)
    yield picture("alpha", "alpha is dropped, not blended", data)
    data = png(np.dstack([plain[:, :, :1], alpha]), GREY_ALPHA)
    yield picture("grey-alpha", "alpha is dropped, not blended", data)
    data = png(plain, RGB, chunks=((b"tRNS", bytes([0, 230, 0, 40, 0, 60])),))
    yield picture("transparent-colour", "one colour is transparent, and stays", data)
    palette = Image.fromarray(_palette_numbers(plain), "P")
    palette.putpalette(_colours().tobytes())
    yield picture("palette", "64 colours", encode(palette, "PNG", compress_level=0))
    data = encode(palette, "PNG", compress_level=0, transparency=bytes(range(0, 256, 4)))
    yield picture("palette-transparent", "64 colours of different transparency", data)
    few = Image.fromarray(_palette_numbers(plain) >> 4, "P")
    few.putpalette(_colours()[::16].tobytes())
    yield picture("palette-2-bit", "four pixels a byte", encode(few, "PNG", bits=2))
    dots = Image.fromarray(odd[:, :, 2] > 127)
    yield picture("1-bit", "black and white, eight pixels a byte", encode(dots, "PNG"))
    yield picture("interlaced", "Adam7, odd sides", png(odd, RGB, interlaced=True))
    data = png(odd, RGB, chunks=((b"eXIf", exif(6).removeprefix(b"Exif\0\0")),))
    yield picture("turned", "orientation 6 in its EXIF chunk", data)
    data = encode(plain, "PNG", save_all=True, append_images=[Image.new("RGB", _SIZE)])
    yield picture("animated", "the first picture counts", data)


def _palette_numbers(pixels: Pixels) -> Pixels:
    """Return each pixel's entry among 64 colours: two bits each of red, green and blue."""
    high = pixels >> 6
    numbers: Pixels = (high[..., 0] << 4 | high[..., 1] << 2 | high[..., 2]).astype(np.uint8)
    return numbers


def _colours() -> Pixels:
    number = np.arange(64)
    levels = np.stack([number >> 4 & 3, number >> 2 & 3, number & 3], axis=1)
    return (levels * 85).astype(np.uint8)


def _deep() -> Iterator[Picture]:
    twelve, ten, full = (_deep_drawing(40, 30, bits) for bits in (12, 10, 16))
    turned = full[::-1, ::-1, :1]
    for name, bits, data in (
        ("grey-16", 12, png(twelve[:, :, :1], GREY)),
        ("rgb-16", 10, png(ten, RGB)),
        ("grey-alpha-16", 12, png(np.dstack([twelve[:, :, :1], turned]), GREY_ALPHA)),
        ("alpha-16", 16, png(np.dstack([full, turned]), RGB_ALPHA)),
    ):
        note = f"16 bits a sample, of which {bits} are used"
        yield Picture(f"png-{name}", ".png", note, data, sample_bits=bits)
    data = encode(_deep_drawing(40, 30, 14)[:, :, 0], "TIFF")
    yield Picture("tiff-grey-16", ".tif", "16 bits, of which 14 are used", data, sample_bits=14)


def _other() -> Iterator[Picture]:
    plain, odd = drawing(*_SIZE), drawing(*_ODD)
    black = Image.new("RGB", _SIZE)
    palette = Image.fromarray(_palette_numbers(plain), "P")
    palette.putpalette(_colours().tobytes())
    inverted = Image.fromarray(63 - _palette_numbers(plain), "P")
    inverted.putpalette(_colours().tobytes())
    yield Picture("gif", ".gif", "one picture", encode(palette, "GIF"))
    data = encode(palette, "GIF", save_all=True, append_images=[inverted], duration=100)
    yield Picture("gif-animated", ".gif", "the first picture counts", data)
    data = encode(palette, "GIF", transparency=int(_palette_numbers(plain)[0, 0]))
    yield Picture("gif-transparent", ".gif", "one entry is transparent, and stays", data)
    data = encode(odd, "WEBP", quality=80, method=4)
    yield Picture("webp", ".webp", "lossy, odd sides", data)
    data = encode(plain, "WEBP", lossless=True)
    yield Picture("webp-lossless", ".webp", "lossless", data)
    with_alpha = np.dstack([plain, plain[::-1, ::-1, 2]])
    data = encode(with_alpha, "WEBP", lossless=True, exact=True)
    yield Picture("webp-alpha", ".webp", "alpha is dropped, not blended", data)
    data = encode(plain, "WEBP", lossless=True, save_all=True, append_images=[black])
    yield Picture("webp-animated", ".webp", "the first picture counts", data)
    data = encode(plain, "TIFF", compression="tiff_lzw")
    yield Picture("tiff-lzw", ".tif", "compressed", data)
    turned = TiffImagePlugin.ImageFileDirectory_v2()
    turned[_TURN] = 6
    data = encode(odd, "TIFF", tiffinfo=turned)
    yield Picture("tiff-turned", ".tif", "orientation 6", data)
    data = encode(
        plain, "TIFF", compression="tiff_adobe_deflate", save_all=True, append_images=[black]
    )
    yield Picture("tiff-pages", ".tif", "the first page counts", data)
    yield Picture("bmp", ".bmp", "from the bottom up, rows padded", encode(odd, "BMP"))
    yield Picture("bmp-palette", ".bmp", "64 colours", encode(palette, "BMP"))


def _extreme() -> Iterator[Picture]:
    yield Picture("one-pixel-png", ".png", "the smallest picture", png(drawing(1, 1), RGB))
    data = encode(drawing(1, 1), "JPEG", quality=90)
    yield Picture("one-pixel-jpeg", ".jpg", "the smallest picture", data)
    yield Picture("small", ".png", "smaller than the crop", png(drawing(7, 5), RGB))
    yield Picture("square", ".png", "short side as wanted", png(drawing(27, 27), RGB))
    yield Picture("wide-99", ".png", "sides 99:1", png(drawing(198, 2), RGB))
    yield Picture("wide-100", ".png", "sides 100:1, the most", png(drawing(100, 1), RGB))
    data = encode(drawing(3, 297), "JPEG", quality=85)
    yield Picture("tall-99", ".jpg", "sides 1:99", data)
    for name, size in (("wide-101", (101, 1)), ("tall-101", (1, 101))):
        note = "sides more than 1:100 apart"
        yield Picture(name, ".png", note, png(drawing(*size), RGB), error="too-long")


def _refused() -> Iterator[Picture]:
    plain = drawing(*_SIZE)
    whole_jpeg = encode(plain, "JPEG", quality=90)
    progressive = encode(plain, "JPEG", quality=90, progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    whole_png = png(plain, RGB)
    pixels = whole_png.index(b"IDAT") + 4

    def refused(name: str, ending: str, kind: Kind, note: str, data: bytes) -> Picture:
        return Picture(f"bad-{name}", ending, note, data, error=kind)

    yield refused("empty", ".png", "empty", "no bytes", b"")
    yield refused(
        "text", ".jpg", "not-an-image", "text with an image's ending", b"Not a picture.\n"
    )
    for name, ending, data in (
        ("jpeg", ".jpg", whole_jpeg),
        ("progressive", ".jpg", progressive),
        ("png", ".png", whole_png),
        ("webp", ".webp", encode(plain, "WEBP", lossless=True)),
        ("bmp", ".bmp", encode(plain, "BMP")),
    ):
        cut = data[: len(data) * 2 // 3]
        yield refused(f"cut-{name}", ending, "truncated", "cut off after two thirds", cut)
    data = progressive[:last_scan]
    yield refused("scan-missing", ".jpg", "truncated", "cut off between two scans", data)
    data = flipped(whole_png, len(whole_png) - 14)
    yield refused("png-checksum", ".png", "damaged", "wrong checksum of its pixels", data)
    data = flipped(whole_png, pixels + 100)
    yield refused("png-pixel", ".png", "damaged", "a pixel does not fit the checksum", data)
    data = flipped(whole_png, 17)
    yield refused("png-header", ".png", "damaged", "a header does not fit its checksum", data)
    data = b"\xff\xd8\xff" + bytes(range(64))
    yield refused("jpeg-header", ".jpg", "damaged", "begins like a JPEG and is none", data)
    data = with_png_size(png(drawing(4, 4), RGB), 50_000, 50_000)
    yield refused("png-size", ".png", "too-large", "its header says 2500 million pixels", data)
    data = with_jpeg_size(encode(drawing(8, 8), "JPEG"), 65_000, 65_000)
    yield refused("jpeg-size", ".jpg", "too-large", "its header says 4225 million pixels", data)
    data = encode(plain[:, :, 0].astype(np.float32), "TIFF")
    yield refused("float", ".tif", "unsupported", "samples of 32 bits, without a range", data)
