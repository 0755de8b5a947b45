"""Decoding image files to RGB pixels, the same way in training, evaluation and prediction.

The pixels are what a person would see: EXIF orientation is applied, grey and palette images become
RGB, 16-bit samples keep their upper eight bits (with ``sample_bits``, the upper eight of the bits
that are used), alpha is dropped, and only the first frame of an animation is used. Files from
outside may be hostile: formats, bytes and pixels are limited, and every failure is an
:class:`fleetnet.errors.ImageError` of one line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFile

from fleetnet import native
from fleetnet.damage import with_jpeg_end
from fleetnet.errors import ImageError, reason_of
from fleetnet.formats import format_of, open_image
from fleetnet.geometry import Extent, extent_of
from fleetnet.orientation import (
    load,
    load_upright,
    orientation_of,
    stored_box,
    turn_upright,
    upright_size,
)
from fleetnet.sample_bits import (
    DEEP,
    deep_colour_pixels,
    is_deep,
    is_deep_colour,
    is_deep_grey,
    stated_bits,
    upper_eight,
)

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a gigabyte once decoded."""
MAX_SLOW_PIXELS = 16_000_000
"""For formats whose decoder is written in Python and takes two seconds for a million pixels."""
_SLOW_DECODERS = ("qoi", "ppm", "ppm_plain")


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


def _open(data: bytes, max_pixels: int = MAX_PIXELS) -> _Opened:
    kind = format_of(data)
    if kind.name == "JPEG":
        data = with_jpeg_end(data, MAX_PIXELS)
    image = open_image(data, kind)
    _check_size(image, max_pixels)
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
        max_pixels: a lower limit than :data:`MAX_PIXELS`, found by the header alone.

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

    def __init__(
        self, data: bytes, sample_bits: int | None = None, *, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._pixels: Pixels | None = None
        with _as_image_errors():
            self.format, self._image, self._data = _open(data, max_pixels)
            self.mode = _mode(self._image)
            self.unstated_depth = self.mode == DEEP and stated_bits(self._image) is None
            deep_colour = is_deep_colour(self._image)
            if self._image.format == "PNG":
                load(self._image)  # reading its EXIF decodes too, but hides errors
            self.orientation = orientation_of(self._image)
            if self._image.format in ("JPEG", "MPO"):
                self.width, self.height = upright_size(*self._image.size, self.orientation)
                return
            if sample_bits is not None and deep_colour:
                self._pixels = deep_colour_pixels(self._image, _open(data).image, sample_bits)
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

    def decode_part(self, box: tuple[int, int, int, int], shrink: int = 1) -> Pixels:
        """Return a part of what :meth:`decode` gives, without looking for damage outside of it.

        Of a JPEG, bits below the part are not read, and pixels are only made of the part, if this
        was compiled with libjpeg-turbo. The pixels are the same without.

        Args:
            box: left, top, right and bottom in the pixels of ``decode(shrink)``, the last two
                exclusive.
            shrink: as for :meth:`decode`.

        Raises:
            ImageError: damaged or truncated, as far as that is found.
        """
        pixels = self._decode_part_fast(box, shrink) if self._pixels is None else None
        if pixels is not None:
            return turn_upright(pixels, self.orientation)
        left, top, right, bottom = box
        return self.decode(shrink)[top:bottom, left:right]

    def size(self, shrink: int) -> tuple[int, int]:
        """Return width and height of what ``decode(shrink)`` gives."""
        if self._pixels is not None:
            return self.width, self.height
        return -(-self.width // shrink), -(-self.height // shrink)

    def extent(self, shrink: int) -> Extent:
        """Return where in the pixels of ``decode(shrink)`` the picture is."""
        if self._pixels is not None:
            return Extent.of(self._pixels)
        return extent_of(self.width, self.height, shrink, self.orientation)

    def _decode_part_fast(self, box: tuple[int, int, int, int], shrink: int) -> Pixels | None:
        """Return a part of the pixels as stored, or None if all of them have to be decoded."""
        if native.jpeg is None or self._image.mode not in ("RGB", "L"):
            return None
        left, top, right, bottom = stored_box(box, *self.size(shrink), self.orientation)
        pixels = np.empty((bottom - top, right - left, 3), np.uint8)
        place = (left, top, right, bottom)
        done = native.jpeg.decode_part(self._data, pixels, self._image.size, shrink, place)
        return pixels if done else None

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
    if is_deep(image):
        return DEEP
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return "alpha"
    return {"L": "grey", "1": "grey", "P": "palette"}.get(image.mode, image.mode)


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
        if sample_bits is not None and is_deep_colour(image):
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
        reason = reason_of(error)
        # Pillow's own word, which is all that tells one from the other.
        code = "truncated" if "truncated" in reason else "damaged"
        raise ImageError(f"damaged image: {reason}", code=code) from None


def _check_size(image: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    slow = any(tile.codec_name in _SLOW_DECODERS for tile in tiles)
    limit = min(MAX_SLOW_PIXELS if slow else MAX_PIXELS, max_pixels)
    if image.width * image.height > limit:
        what = " for a format that takes so long" if slow else ""
        raise ImageError(
            f"{image.width}×{image.height} is more than {limit / 10**6:g} million pixels{what}",
            code="too-large",
            width=image.width,
            height=image.height,
            limit=limit,
        )


def _to_rgb(image: Image.Image, sample_bits: int | None = None) -> Pixels:
    _check_size(image)
    bits = stated_bits(image) or sample_bits or 16
    deep = is_deep_grey(image)
    image = load_upright(image)
    if deep:
        image = Image.fromarray(upper_eight(np.asarray(image).astype(np.uint16), bits))
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


def from_array(array: npt.NDArray[np.generic], sample_bits: int | None = None) -> Pixels:
    """Return an array as ``uint8[H, W, 3]``; an array of two dimensions is grey.

    Args:
        array: ``uint8`` or ``uint16`` in either order of bytes, ``[H, W, 3]`` or ``[H, W]``.
        sample_bits: as for :class:`OpenImage`, with ``uint16``.

    Raises:
        ImageError: another dtype or shape.
    """
    if array.dtype.newbyteorder("=") == np.uint16:
        array = upper_eight(array.astype(np.uint16), sample_bits or 16)
    if array.dtype != np.uint8:
        raise ImageError(f"an image array must be uint8 or uint16, this one is {array.dtype}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        shape = "×".join(map(str, array.shape))
        raise ImageError(f"an image array must be height×width×3 RGB, this one is {shape}")
    return np.ascontiguousarray(array, dtype=np.uint8)
