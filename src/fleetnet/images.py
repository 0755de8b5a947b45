"""Decoding image files to RGB pixels, the same way in training, evaluation and prediction.

The pixels are what a person would see: EXIF orientation is applied, grey and palette images become
RGB, 16-bit samples keep their upper eight bits (with ``sample_bits``, the upper eight of the bits
that are used), alpha is dropped, and only the first frame of an animation is used. Files from
outside may be hostile: formats, bytes and pixels are limited, and every failure is an
:class:`fleetnet.errors.ImageError` of one line.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFile

from fleetnet.damage import with_jpeg_end
from fleetnet.errors import ImageError, one_line
from fleetnet.formats import FORMATS, format_of, open_image
from fleetnet.geometry import Extent, extent_of
from fleetnet.orientation import (
    orientation_of,
    turn_image_upright,
    turn_upright,
    upright_size,
)

Pixels = npt.NDArray[np.uint8]

EXTENSIONS = frozenset(ending for known in FORMATS for ending in known.endings)
USUAL = ".jpg, .png, .webp, .tif, .bmp, .gif and others, see docs/images.md"
"""What messages say of the endings, which are too many for a line."""
MAX_BYTES = 256 * 2**20
MAX_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a gigabyte once decoded."""
MAX_SLOW_PIXELS = 16_000_000
"""For formats whose decoder is written in Python and takes two seconds for a million pixels."""
STDIN = "-"
DEEP = "16-bit"
_SLOW_DECODERS = ("qoi", "ppm", "ppm_plain")
_BITS_PER_SAMPLE = 258
_SCALED = ("PPM", "JPEG2000", "HEIF")
"""Formats that state how many bits their samples use; their decoders scale them to 16."""
_OTHER_BYTE = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B" if sys.byteorder == "little" else "RGBA;16L",
    "RGBX;16B": "RGBX;16L",
    "RGBX;16L": "RGBX;16B",
    "LA;16B": "RGBA",  # both bytes of the grey at once, as red and green
}
"""Pillow's names of layouts of 16-bit colour, and of the same in the other byte order."""


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of an image file, ``-`` being standard input.

    Raises:
        ImageError: no such file, not a file, not readable, empty, or over :data:`MAX_BYTES`.
    """
    try:
        if os.fspath(path) == STDIN:
            stream = getattr(sys.stdin, "buffer", None)
            if stream is None:
                raise ImageError("standard input is no stream of bytes")
            data: bytes = stream.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                # Python allocates what it is asked for, so ask for no more than the file has;
                # a pipe has no size and is asked for all that is allowed.
                size = os.fstat(file.fileno()).st_size
                data = file.read(min(size or MAX_BYTES, MAX_BYTES) + 1)
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from None
    except ValueError as error:  # no file system can hold such a name
        raise ImageError(str(error)) from None
    if not data:
        raise ImageError("the file is empty", code="empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB", code="too-large")
    return data


def decode(data: bytes, sample_bits: int | None = None) -> Pixels:
    """Decode one image file's bytes to ``uint8[H, W, 3]``, RGB.

    Args:
        data: the file's content.
        sample_bits: as for :class:`OpenImage`.

    Raises:
        ImageError: unknown format, damaged or truncated, or over :data:`MAX_PIXELS`.
    """
    return OpenImage(data, sample_bits).decode()


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Open one image file's bytes as a Pillow image whose pixels are not decoded yet.

    Raises:
        ImageError: as :func:`decode`, and for errors of the image inside the block.
    """
    with _as_image_errors(), _open(data)[1] as image:
        yield image


class _Opened(NamedTuple):
    format: str
    image: ImageFile.ImageFile
    data: bytes
    """The file's content; a JPEG's missing end marker is added."""


def _open(data: bytes) -> _Opened:
    kind = format_of(data)
    if kind.name == "JPEG":
        data = with_jpeg_end(data, MAX_PIXELS)
    image = open_image(data, kind)
    _check_size(image)
    return _Opened(kind.name, image, data)


class OpenImage:
    """An image whose header is read and whose pixels are decoded on demand, smaller if wanted.

    A JPEG is decoded by libjpeg-turbo through simplejpeg, which takes about half of Pillow's time
    for the same pixels. If simplejpeg refuses or warns, Pillow either decodes the file or says what
    is wrong. So both accept the same files, and a truncated file is an error with both. Pillow
    decodes other formats at once.

    Args:
        data: the file's bytes.
        sample_bits: how many bits of 16-bit samples are used, where the format does not say:
            microscopes and other cameras store 10, 12 or 14 bits in PNG and TIFF files, whose
            upper eight of 16 bits would be nearly black. None for all 16.

    Attributes:
        format: of the file, such as ``JPEG``.
        mode: ``RGB``, ``grey``, ``palette``, ``alpha``, ``CMYK``, ``16-bit``, or Pillow's name.
        width: of the upright picture at full size.
        height: of the upright picture at full size.
        orientation: of the stored picture, as EXIF numbers it from 1 to 8.
        unstated_depth: whether its samples have 16 bits and the file does not say how many of them
            are used.

    Raises:
        ImageError: as :func:`decode`.
    """

    def __init__(self, data: bytes, sample_bits: int | None = None) -> None:
        self._pixels: Pixels | None = None
        with _as_image_errors():
            self.format, self._image, self._data = _open(data)
            self.mode = _mode(self._image)
            self.unstated_depth = self.mode == DEEP and _stated_bits(self._image) is None
            deep_colour = _is_deep_colour(self._image)
            if self._image.format == "PNG":
                _load(self._image)  # reading its EXIF decodes too, but hides errors
            self.orientation = orientation_of(self._image)
            if self._image.format in ("JPEG", "MPO"):
                self.width, self.height = upright_size(*self._image.size, self.orientation)
                return
            if sample_bits is not None and deep_colour:
                self._pixels = _deep_colour(self._image, _open(data).image, sample_bits)
            else:
                self._pixels = _to_rgb(self._image, sample_bits)
            self.height, self.width = self._pixels.shape[:2]

    def decode(self, shrink: int = 1) -> Pixels:
        """Return upright ``uint8[H, W, 3]``, RGB; a JPEG with sides divided by ``shrink``.

        Args:
            shrink: 1 or one of :data:`SHRINKS`; sides are rounded up.

        Raises:
            ImageError: damaged or truncated.
        """
        if self._pixels is not None:
            return self._pixels
        pixels = self._decode_fast(shrink)
        if pixels is not None:
            return turn_upright(pixels, self.orientation)
        with _as_image_errors():
            if shrink > 1:
                # Pillow uses the same factor, because it is one of libjpeg's.
                width, height = self._image.size
                self._image.draft(None, (max(width // shrink, 1), max(height // shrink, 1)))
            return _to_rgb(self._image)

    def extent(self, shrink: int) -> Extent:
        """Return where in the pixels of ``decode(shrink)`` the picture is."""
        if self._pixels is not None:
            return Extent.of(self._pixels)
        return extent_of(self.width, self.height, shrink, self.orientation)

    def _decode_fast(self, shrink: int) -> Pixels | None:
        """Return the pixels as stored, or None if Pillow has to decode them."""
        if self._image.mode not in ("RGB", "L"):
            return None
        width, height = self._image.size
        try:
            # The limits were checked for the size that Pillow read; hostile files may state two
            # sizes.
            if simplejpeg.decode_jpeg_header(self._data)[:2] != (height, width):
                return None
            pixels: Pixels = simplejpeg.decode_jpeg(
                self._data,
                "RGB",
                min_width=-(-width // shrink),
                min_height=-(-height // shrink),
                min_factor=shrink,
            )
        except ValueError:
            return None
        return pixels


def _mode(image: Image.Image) -> str:
    if image.mode.startswith("I;16") or ";16" in _stored(image):
        return DEEP
    if image.mode == "I" and image.format == "PPM":
        return DEEP
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return "alpha"
    return {"L": "grey", "1": "grey", "P": "palette"}.get(image.mode, image.mode)


def _stored(image: Image.Image) -> str:
    """Return the decoder's names of the stored mode: Pillow opens 16-bit colour as 8 bits."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return " ".join(str(tile.args) for tile in tiles)


def from_pil(image: Image.Image, sample_bits: int | None = None) -> Pixels:
    """Return a Pillow image as ``uint8[H, W, 3]``, RGB, upright.

    Args:
        image: of any mode that has a defined range.
        sample_bits: as for :class:`OpenImage`.

    Raises:
        ImageError: damaged, over :data:`MAX_PIXELS`, or samples without a defined range; or 16-bit
            colour with ``sample_bits``, because Pillow keeps only eight bits of it.
    """
    with _as_image_errors():
        if sample_bits is not None and _is_deep_colour(image):
            raise ImageError(
                "Pillow keeps 8 bits of a colour image's 16: give its file, for sample_bits "
                f"{sample_bits}"
            )
        return _to_rgb(image, sample_bits)


@contextlib.contextmanager
def _as_image_errors() -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(
            f"more than {MAX_PIXELS // 10**6} million pixels", code="too-large"
        ) from None
    except Exception as error:
        # Pillow's parsers may raise anything on hostile bytes: SyntaxError, struct.error, …
        reason = one_line(error) or type(error).__name__
        # Pillow's own word, which is all that tells one from the other.
        code = "truncated" if "truncated" in reason else "damaged"
        raise ImageError(f"damaged image: {reason}", code=code) from None


def _check_size(image: Image.Image) -> None:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    slow = any(tile.codec_name in _SLOW_DECODERS for tile in tiles)
    limit = MAX_SLOW_PIXELS if slow else MAX_PIXELS
    if image.width * image.height > limit:
        what = " for a format that takes so long" if slow else ""
        raise ImageError(
            f"{image.width}×{image.height} is more than {limit // 10**6} million pixels{what}",
            code="too-large",
            width=image.width,
            height=image.height,
            limit=limit,
        )


def _to_rgb(image: Image.Image, sample_bits: int | None = None) -> Pixels:
    _check_size(image)
    bits = _stated_bits(image) or sample_bits or 16
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    image = _upright(image)
    if deep:
        image = Image.fromarray(_upper_eight(np.asarray(image).astype(np.uint16), bits))
    elif image.mode in ("I", "F"):
        raise ImageError(
            "samples of 32 bits have no defined range; save the image as 8 or 16 bits",
            code="unsupported",
        )
    elif image.mode == "P":
        image = image.convert("RGBA")  # Pillow's advice for palettes with transparency
    elif image.mode == "La":
        image = image.convert("LA")
    return np.asarray(image.convert("RGB"))


def _upper_eight(samples: npt.NDArray[np.uint16], bits: int) -> Pixels:
    """Return the upper eight of the ``bits`` that are used; samples above them become 255."""
    pixels: Pixels = (np.minimum(samples, 2**bits - 1) >> (bits - 8)).astype(np.uint8)
    return pixels


def _stated_bits(image: Image.Image) -> int | None:
    """Return how many bits the samples of a 16-bit image use; None if its file does not say."""
    if image.format in _SCALED:
        return 16
    stored = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    return 12 if stored == (12,) else None


def _is_deep_colour(image: Image.Image) -> bool:
    return ";16" in _stored(image) and not image.mode.startswith("I")


def _deep_colour(upper: Image.Image, lower: ImageFile.ImageFile, bits: int) -> Pixels:
    """Return the ``bits`` that are used of an image of 16-bit colour, which is opened twice.

    Pillow keeps only the upper byte of each sample. With the other byte order set for the second,
    it keeps the lower one.

    Raises:
        ImageError: a layout other than PNG's and the usual ones of TIFF.
    """
    for place, tile in enumerate(lower.tile):
        raw, *more = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        other = _OTHER_BYTE.get(raw)
        if other is None:
            raise ImageError(
                f"sample_bits does not work for samples stored as {raw}; save the image as PNG",
                code="unsupported",
            )
        args = other if isinstance(tile.args, str) else (other, *more)
        lower.tile[place] = tile._replace(args=args)
    low = np.asarray(_upright(lower))
    if raw == "LA;16B":
        samples = np.repeat(low[..., :1].astype(np.uint16) << 8 | low[..., 1:2], 3, axis=2)
    else:
        high = np.asarray(_upright(upper))
        samples = (high.astype(np.uint16) << 8 | low)[..., :3]
    return _upper_eight(samples, bits)


def _upright(image: Image.Image) -> Image.Image:
    _load(image)
    return turn_image_upright(image)


def _load(image: Image.Image) -> None:
    """Decode the pixels; after an error, a second call to Pillow may return what it has of them.

    Raises:
        Exception: they are damaged.
    """
    try:
        image.load()
    except OSError:
        raise
    except Exception:
        image.load()  # Pillow turns TIFF files upright here, and sometimes only that fails


def from_array(array: npt.NDArray[np.generic], sample_bits: int | None = None) -> Pixels:
    """Return an array as ``uint8[H, W, 3]``; an array of two dimensions is grey.

    Args:
        array: ``uint8`` or ``uint16`` in either order of bytes, ``[H, W, 3]`` or ``[H, W]``.
        sample_bits: as for :class:`OpenImage`, with ``uint16``.

    Raises:
        ImageError: another dtype or shape.
    """
    if array.dtype.newbyteorder("=") == np.uint16:
        array = _upper_eight(array.astype(np.uint16), sample_bits or 16)
    if array.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8 or uint16, this one is {array.dtype}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        shape = "×".join(map(str, array.shape))
        raise ImageError(f"an image array must be height×width×3 RGB, this one is {shape}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def is_image_name(name: str) -> bool:
    """Tell whether a file's extension is that of an image."""
    return Path(name).suffix.lower() in EXTENSIONS
