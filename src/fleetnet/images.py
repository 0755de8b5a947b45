"""Encoded bytes to RGB pixels, the same way in training, evaluation and prediction.

What an image file holds is what a person would see: EXIF orientation is applied, grey and palette
images become RGB, 16-bit samples keep their upper eight bits, alpha is dropped, and of an animation
the first frame is taken. Files from outside are hostile until decoded: formats, bytes and pixels
are limited, and every failure is an :class:`fleetnet.errors.ImageError` of one line.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from fleetnet.errors import DataError, ImageError

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
)
MAX_BYTES = 256 * 2**20
MAX_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a gigabyte once decoded."""
STDIN = "-"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of an image file, ``-`` being standard input.

    Raises:
        ImageError: no such file, not a file, not readable, empty, or over :data:`MAX_BYTES`.
    """
    try:
        if os.fspath(path) == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from None
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
    with opened(data) as image:
        return _to_rgb(image)


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Give one image file's bytes as a Pillow image whose pixels are not decoded yet.

    Raises:
        ImageError: as :func:`decode`; what goes wrong with the image inside the block, too.
    """
    with _as_image_errors(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image)
        yield image


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
        reason = " ".join(str(error).split()) or type(error).__name__
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


def find_images(patterns: Iterable[str]) -> Iterator[str]:
    """Expand files, folders (recursively, sorted), globs and ``-`` to paths, one after another.

    A folder or glob contributes files with an image's extension; a file named outright is passed
    on whatever it is called, so that a missing one is reported and not overlooked.

    Raises:
        DataError: a folder or glob with no image in it.
    """
    for pattern in patterns:
        if pattern == STDIN or Path(pattern).is_file():
            yield pattern
        elif Path(pattern).is_dir():
            yield from _some(walk_images(Path(pattern)), f"no images in the folder {pattern}")
        elif glob.has_magic(pattern):
            matches = (Path(match) for match in sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207
            files = (path for path in matches if path.is_file() and is_image_name(path.name))
            yield from _some(files, f"no images match {pattern}")
        else:
            yield pattern


def walk_images(folder: Path) -> Iterator[Path]:
    """Yield the image files below ``folder``, sorted, hidden ones and hidden folders left out."""
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from walk_images(Path(entry.path))
        elif is_image_name(entry.name):
            yield Path(entry.path)


def is_image_name(name: str) -> bool:
    """Tell whether a file's extension is that of an image."""
    return Path(name).suffix.lower() in EXTENSIONS


def _some(paths: Iterator[Path], otherwise: str) -> Iterator[str]:
    first = next(paths, None)
    if first is None:
        raise DataError(f"{otherwise} (looked for {', '.join(sorted(EXTENSIONS))})")
    yield str(first)
    yield from map(str, paths)
