"""Encoded bytes to RGB pixels, the same way in training, evaluation and prediction.

What an image file holds is what a person would see: EXIF orientation is applied, grey and palette
images become RGB, 16-bit samples keep their upper eight bits, alpha is dropped, and of an animation
the first frame is taken. Files from outside are hostile until decoded: formats, bytes and pixels
are limited, and every failure is an :class:`fleetnet.errors.ImageError` of one line.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from fleetnet.errors import ImageError, one_line

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
)
MAX_BYTES = 256 * 2**20
MAX_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a gigabyte once decoded."""
STDIN = "-"
SHRINKS = (8, 4, 2)
"""Factors by which a JPEG can be decoded smaller; libjpeg's other factors are slower than none."""
_ORIENTATION = 0x0112
_UPSIDE_DOWN = (3, 4, 7, 8)
"""Orientations whose rows are to be put in reverse, after a transposition if there is one."""
_MIRRORED = (2, 3, 6, 7)


class Extent(NamedTuple):
    """A rectangle in pixels of an image, in fractions of them too."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, pixels: Pixels) -> Extent:
        """Return that of a whole image."""
        height, width = pixels.shape[:2]
        return cls(0, 0, width, height)


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
                # Python sets aside as much as it is asked for, so ask for no more than is there;
                # what has no size, such as a pipe, has to be asked for all that is allowed.
                size = os.fstat(file.fileno()).st_size
                data = file.read(min(size or MAX_BYTES, MAX_BYTES) + 1)
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from None
    except ValueError as error:  # no file system can hold such a name
        raise ImageError(str(error)) from None
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB")
    return data


def decode(data: bytes) -> Pixels:
    """Decode one image file's bytes to ``uint8[H, W, 3]``, RGB.

    Raises:
        ImageError: unknown format, damaged or truncated, or over :data:`MAX_PIXELS`.
    """
    return OpenImage(data).decode()


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Give one image file's bytes as a Pillow image whose pixels are not decoded yet.

    Raises:
        ImageError: as :func:`decode`; what goes wrong with the image inside the block, too.
    """
    with _as_image_errors(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image)
        yield image


class OpenImage:
    """An image whose header is read and whose pixels are decoded on demand, smaller if wanted.

    A JPEG goes to libjpeg-turbo by way of simplejpeg, which takes about half of Pillow's time for
    the same pixels. Whatever simplejpeg refuses or warns of goes to Pillow: that either decodes it
    or says what is wrong, so that both roads accept the same files, and a truncated file is an
    error on both. Other formats are decoded at once by Pillow.

    Args:
        data: the file's bytes.

    Attributes:
        width: of the upright picture at full size.
        height: of the upright picture at full size.

    Raises:
        ImageError: as :func:`decode`.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pixels: Pixels | None = None
        with _as_image_errors():
            self._image = Image.open(io.BytesIO(data), formats=FORMATS)
            if self._image.format not in ("JPEG", "MPO"):
                self._pixels = _to_rgb(self._image)
                self.height, self.width = self._pixels.shape[:2]
                return
            _check_size(self._image)
            self._orientation = _orientation(self._image)
            self.width, self.height = self._image.size
            if self._orientation >= 5:
                self.width, self.height = self.height, self.width

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
            return _turn_upright(pixels, self._orientation)
        with _as_image_errors():
            if shrink > 1:
                # This takes the same factor, since it is one of libjpeg's.
                width, height = self._image.size
                self._image.draft(None, (max(width // shrink, 1), max(height // shrink, 1)))
            return _to_rgb(self._image)

    def extent(self, shrink: int) -> Extent:
        """Return where in the pixels of ``decode(shrink)`` the picture is.

        Sides that ``shrink`` does not divide are rounded up: libjpeg fills the last block of
        pixels from beyond the edge. Taken for the picture, these would stretch it.
        """
        if self._pixels is not None:
            return Extent.of(self._pixels)
        width, height = self.width / shrink, self.height / shrink
        left = math.ceil(width) - width if self._orientation in _MIRRORED else 0
        top = math.ceil(height) - height if self._orientation in _UPSIDE_DOWN else 0
        return Extent(left, top, left + width, top + height)

    def _decode_fast(self, shrink: int) -> Pixels | None:
        """Return the pixels as stored, or None if simplejpeg is not to be trusted with them."""
        if self._image.mode not in ("RGB", "L"):
            return None
        width, height = self._image.size
        try:
            # The limits were checked on the size that Pillow read; hostile files may have two.
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


def _orientation(image: Image.Image) -> int:
    """Return the EXIF (or XMP) orientation, 1 to 8; 1, as stored, if absent or damaged."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def _turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in _UPSIDE_DOWN:
        pixels = pixels[::-1]
    if orientation in _MIRRORED:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def from_pil(image: Image.Image) -> Pixels:
    """Return a Pillow image as ``uint8[H, W, 3]``, RGB, upright.

    Raises:
        ImageError: damaged, over :data:`MAX_PIXELS`, or samples that have no defined range.
    """
    with _as_image_errors():
        return _to_rgb(image)


@contextlib.contextmanager
def _as_image_errors() -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image in a known format") from None
    except Image.DecompressionBombError:
        raise ImageError(f"more than {MAX_PIXELS // 10**6} million pixels") from None
    except Exception as error:
        # Pillow's parsers raise nearly anything on hostile bytes: SyntaxError, struct.error, …
        reason = one_line(error) or type(error).__name__
        raise ImageError(f"damaged image: {reason}") from None


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{image.width}×{image.height} is more than {MAX_PIXELS // 10**6} million pixels"
        )


def _to_rgb(image: Image.Image) -> Pixels:
    _check_size(image)
    image = _upright(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ImageError("samples of 32 bits have no defined range; save the image as 8 or 16 bits")
    elif image.mode == "P":
        image = image.convert("RGBA")  # Pillow's own way to palettes with transparent entries
    return np.asarray(image.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # A damaged EXIF block is no reason to refuse the picture; damaged pixels fail in load().
        image.load()
        return image


def from_array(array: npt.NDArray[np.generic]) -> Pixels:
    """Return an array as ``uint8[H, W, 3]``; ``uint8[H, W]`` is taken as grey.

    Raises:
        ImageError: another dtype or shape.
    """
    if array.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8, this one is {array.dtype}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        shape = "×".join(map(str, array.shape))
        raise ImageError(f"an image array must be height×width×3 RGB, this one is {shape}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def is_image_name(name: str) -> bool:
    """Tell whether a file's extension is that of an image."""
    return Path(name).suffix.lower() in EXTENSIONS
