"""Images as they go into a request: files as they are, pixels as the plainest of files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fleetnet.client.address import Path
from fleetnet.errors import ImageError
from fleetnet.image_bytes import STDIN, read_bytes

if TYPE_CHECKING:
    from fleetnet.images import Pixels
    from fleetnet.inference.inputs import ImageLike


@dataclass(frozen=True)
class Given:
    """An image that is not read yet, and does not change any more.

    Attributes:
        source: the path, or ``image 0``, ``image 1``, … if the image has none.
        image: a path or a file's bytes; an error if there is nothing to send.
    """

    source: str
    image: str | bytes | ImageError


def is_one(images: ImageLike | Iterable[ImageLike]) -> bool:
    """Tell whether this is one image, and not many.

    Raises:
        FleetnetError: it is neither.
    """
    if isinstance(images, str | bytes | os.PathLike):
        return True
    if isinstance(images, list | tuple):
        return False
    from fleetnet.inference import inputs

    return inputs.is_one(images)


def given(image: ImageLike, number: int) -> Given:
    """Take an image, which the caller may change afterwards.

    Raises:
        FleetnetError: objects of this type are not images.
    """
    if isinstance(image, bytes):
        return Given(f"image {number}", image)
    if isinstance(image, str | os.PathLike) and os.fspath(image):
        path = os.fsdecode(image)
        one = Given(path, path)
        # Standard input is read by the caller's thread, which an interrupt can end.
        return Given(path, content_of(one)) if path == STDIN else one
    from fleetnet.inference import inputs

    source = inputs.name_of(image) or f"image {number}"
    try:
        taken = inputs.take(image)
    except ImageError as error:
        return Given(source, error)
    return Given(source, taken if isinstance(taken, str | bytes) else _as_file(taken))


def taken_of(images: ImageLike | Iterable[ImageLike]) -> list[Given]:
    """Take one image, or several.

    Raises:
        FleetnetError: something is no image.
    """
    if is_one(images):
        return [given(cast("ImageLike", images), 0)]
    return list(all_given(cast("Iterable[ImageLike]", images)))


def expanded(images: Path | ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return the images of a folder or glob; others as they are.

    Raises:
        FleetnetError: it is none of that, or nothing is there.
    """
    if isinstance(images, str | os.PathLike):
        from fleetnet.image_files import find_images

        return find_images([os.fspath(images)], lenient=True)
    return [cast("ImageLike", images)] if is_one(images) else cast("Iterable[ImageLike]", images)


def all_given(images: Iterable[ImageLike]) -> Iterator[Given]:
    """Take images, one after another."""
    for number, image in enumerate(images):
        yield given(image, number)


def _as_file(pixels: Pixels) -> bytes:
    """Return pixels as a file without compression, from which the server gets the same ones."""
    height, width = pixels.shape[:2]
    return b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()


def content_of(one: Given) -> bytes | ImageError:
    """Return an image's bytes, or why there are none."""
    if not isinstance(one.image, str):
        return one.image
    try:
        return read_bytes(one.image)
    except ImageError as error:
        return error


def form_of(contents: Sequence[bytes]) -> tuple[bytes, str]:
    """Return images as a multipart form, and its content type."""
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="image"; filename="image"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    pieces = [piece for content in contents for piece in (head, content, b"\r\n")]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()]), (
        f"multipart/form-data; boundary={boundary}"
    )
