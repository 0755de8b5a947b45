"""The forms that an image may have, and telling one image from many.

Nothing is imported for forms that the caller does not use: a caller with a tensor has already
imported PyTorch.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import mmap
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetnet.errors import FleetnetError, ImageError, reason_of
from fleetnet.image_bytes import MAX_BYTES
from fleetnet.images import Pixels, from_array, from_pil

PIECE = 2**20
"""How many bytes of an open file are read at once."""
FORMS = (
    "a path, an image file's bytes, a file opened in binary mode, a Pillow image, a uint8 array "
    "or a uint8 PyTorch tensor"
)


class Readable(Protocol):
    """A file that was opened in binary mode."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end."""
        ...


class ArrayLike(Protocol):
    """A tensor, or another array that NumPy can take."""

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        ...

    def __array__(self) -> npt.NDArray[Any]: ...


Buffer = bytes | bytearray | memoryview | mmap.mmap
ImageLike = (
    str | os.PathLike[str] | Buffer | Readable | Image.Image | npt.NDArray[np.uint8] | ArrayLike
)


def is_one(images: object) -> bool:
    """Tell whether this is one image, and not many.

    Raises:
        FleetnetError: it is neither.
    """
    if isinstance(images, str | bytes):  # NumPy's scalars have dimensions too
        return True
    if _is_number(images):
        raise _refusal(images)
    if isinstance(images, np.ndarray):
        # With one dimension, strings are many images, and numbers are one file's bytes.
        one = images.ndim <= 3 and images.dtype.kind not in "OU"
    elif _is_array_like(images):
        # A column of a table has one dimension too.
        one = images.ndim in ((1, 2, 3) if _is_tensor(images) else (2, 3))  # type: ignore[attr-defined]
    else:
        one = isinstance(images, os.PathLike | Image.Image)
        one = one or _is_buffer(images) or _is_file(images)
    if not one and not _is_iterable(images):
        raise _refusal(images)
    return one


def name_of(image: object) -> str | None:
    """Return the path of an image's file; None if it has none."""
    name = getattr(image, "name", None) if _is_file(image) else image
    if isinstance(name, str | os.PathLike) and os.fspath(name):
        return os.fsdecode(name)
    return None


def take(image: object, sample_bits: int | None = None) -> str | bytes | Pixels:
    """Return what has to be kept of an image before the caller may change it.

    Args:
        image: in one of the accepted forms.
        sample_bits: as in :class:`fleetnet.images.OpenImage`, for 16-bit samples.

    Returns:
        A path; encoded bytes that do not change; or pixels, ``uint8[H, W, 3]`` in RGB, which may
        share the caller's memory.

    Raises:
        ImageError: this image cannot be read.
        FleetnetError: objects of this type are not images.
    """
    if _is_number(image):
        raise _refusal(image)
    if isinstance(image, str | os.PathLike):
        path = os.fsdecode(image)
        if not path:  # which as a path would be this folder
            raise ImageError("an empty name: give the path of an image")
        return path
    if isinstance(image, bytes):
        return image
    if isinstance(image, Image.Image):
        return from_pil(image, sample_bits)
    with _as_image_errors():
        if _is_tensor(image):
            return _of_tensor(image)
        if isinstance(image, np.ndarray) or _is_array_like(image):
            return _of_array(np.asarray(image), sample_bits)
        if _is_buffer(image):
            return _of_buffer(image, sample_bits)
    if _is_file(image):
        return _of_file(image)
    raise _refusal(image)


@contextlib.contextmanager
def _as_image_errors() -> Iterator[None]:
    try:
        yield
    except FleetnetError:
        raise
    except Exception as error:
        # A file may be closed, a buffer released, a tensor without memory: each raises its own
        # error.
        raise ImageError(reason_of(error)) from None


def _refusal(image: object) -> FleetnetError:
    kind = type(image)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    what = "None" if image is None else f"an object of type '{name}'"
    return FleetnetError(f"{what} is no image: predict takes {FORMS}, or an iterable of these")


def _is_iterable(images: object) -> bool:
    if isinstance(images, Mapping):  # iterating would give its keys
        return False
    return isinstance(images, Iterable) or hasattr(type(images), "__getitem__")


def _is_number(image: object) -> bool:
    """Tell whether it is an array or a tensor; these also have a buffer or are iterable."""
    if isinstance(image, str | bytes):  # NumPy's scalars have no dimensions either
        return False
    return hasattr(type(image), "__array__") and getattr(image, "ndim", None) == 0


def _is_tensor(image: object) -> bool:
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and isinstance(image, tensor)


def _is_array_like(image: object) -> bool:
    dimensions = getattr(image, "ndim", None) if hasattr(type(image), "__array__") else None
    return isinstance(dimensions, int)


def _is_buffer(image: object) -> bool:
    try:
        memoryview(image).release()  # type: ignore[arg-type]
    except TypeError:
        return False
    except (BufferError, ValueError):  # closed, or released
        return True
    return True


def _is_file(image: object) -> bool:
    return callable(getattr(type(image), "read", None)) or callable(getattr(image, "read", None))


def _of_buffer(image: Any, sample_bits: int | None) -> bytes | Pixels:
    with memoryview(image) as view:
        if view.ndim != 1 or view.itemsize != 1:
            return _of_array(np.array(view), sample_bits)
        _check_length(view.nbytes)
        return view.tobytes()


def _of_array(pixels: npt.NDArray[Any], sample_bits: int | None = None) -> bytes | Pixels:
    if pixels.ndim == 1 and pixels.dtype == np.uint8:
        _check_length(pixels.nbytes)
        return pixels.tobytes()
    return from_array(pixels, sample_bits)


def _of_tensor(tensor: Any) -> bytes | Pixels:
    """Return a tensor's pixels; its channels may come first, as in torchvision, or last."""
    shape = tuple(tensor.shape)
    size = "×".join(map(str, shape))
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype != "uint8":
        raise ImageError(
            f"an image tensor must be uint8, from 0 to 255, this one is {dtype}: give it as it was "
            "before it was scaled and normalised, which the network does itself"
        )
    pixels = tensor.detach().cpu().numpy()
    if len(shape) != 3:
        return _of_array(pixels)
    if shape[0] in (1, 3) and shape[2] == 3:
        raise ImageError(
            f"a tensor of {size} may have its channels first or last: give it as a NumPy array, "
            "which has them last"
        )
    if shape[0] == 3:
        return from_array(pixels.transpose(1, 2, 0))
    if shape[0] == 1:
        return from_array(pixels[0])
    if shape[2] != 3:
        raise ImageError(
            f"an image tensor must be 3×height×width or height×width×3 RGB, this one is {size}"
        )
    return from_array(pixels)


def _of_file(file: Any) -> bytes:
    """Read an open file from its current position, up to the limit."""
    if isinstance(file, io.TextIOBase):
        raise FleetnetError(f"{_title(file)} is open as text: open it in binary mode, 'rb'")
    content = bytearray()
    while len(content) <= MAX_BYTES:
        with _as_image_errors():
            piece = file.read(min(PIECE, MAX_BYTES + 1 - len(content)))
        if not isinstance(piece, bytes | bytearray | memoryview):
            if inspect.iscoroutine(piece):
                piece.close()
            raise FleetnetError(
                f"{_title(file)} gives no bytes but '{type(piece).__name__}' when it is read: give "
                "a file opened in binary mode, or its content"
            )
        if not piece:
            break
        content += piece
    _check_length(len(content))
    if not content:
        raise ImageError("the file is empty, or was read to its end before", code="empty")
    return bytes(content)


def _title(file: object) -> str:
    return name_of(file) or f"an object of type '{type(file).__name__}'"


def _check_length(length: int) -> None:
    if length > MAX_BYTES:
        raise ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB", code="too-large")
