"""Threads that prepare images ahead of the network, in order and in bounded memory.

Reading a file, decoding and resizing all release Python's lock, so threads can use all processors
beside the network, and nothing has to be sent between processes.

The pool is one of its own beside :func:`fleetnet.threads.map_in_threads`, which would give the
threads every image: those that the caller may change or close, and errors of the stream itself, are
dealt with when they are taken. Both keep the order by :func:`fleetnet.threads.in_order`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fleetnet.errors import ImageError
from fleetnet.image_bytes import read_bytes
from fleetnet.images import Pixels
from fleetnet.inference.inputs import ImageLike, name_of, take
from fleetnet.preprocess import Preprocess
from fleetnet.threads import in_order


@dataclass(frozen=True)
class Ready:
    """An image as the network takes it, or the reason why there is none.

    Attributes:
        source: the path, or ``image 0``, ``image 1``, … if the image had none.
        pixels: ``uint8[crop, crop, 3]``, or None.
        error: why this image cannot be read, else None.
        failure: the exception that ends the stream here, raised after the answers to earlier
            images.
    """

    source: str
    pixels: Pixels | None = None
    error: str | None = None
    failure: Exception | None = None


def look_ahead(workers: int, batch_size: int) -> int:
    """Return how many images to prepare before they are asked for.

    That is the next batch, and for each worker the image in work and one that waits.
    """
    return batch_size + 2 * workers if workers else 0


def make_ready(
    images: Iterable[ImageLike],
    preprocess: Preprocess,
    *,
    exact: bool,
    workers: int,
    ahead: int,
) -> Generator[Ready]:
    """Read, decode and preprocess images, lazily and in order.

    Workers prepare named files and bytes, including the content of open files and buffers, which is
    read at once. Arrays, tensors and Pillow images are prepared at once. So the caller may change
    or close any image when the next one is taken.

    Args:
        images: what to prepare; an exception that it raises becomes the last ``failure``.
        preprocess: how.
        exact: False allows a large JPEG to be decoded smaller.
        workers: how many threads; 0 for none.
        ahead: how many images are taken before they are asked for.
    """

    def begin(numbered: tuple[int, ImageLike | Ready]) -> Callable[[], Ready]:
        """Take an image, and return a function that returns it prepared."""
        number, image = numbered
        if isinstance(image, Ready):
            return functools.partial(_same, image)
        source = f"image {number}"
        try:
            source = name_of(image) or source
            taken = take(image, preprocess.sample_bits)
        except Exception as error:
            return functools.partial(_same, _not_ready(source, error))
        job = functools.partial(make, source, taken)
        if pool is not None and isinstance(taken, str | bytes):
            return pool.submit(job).result
        return functools.partial(_same, job())

    def make(source: str, taken: str | bytes | Pixels) -> Ready:
        try:
            return Ready(source, _pixels_of(taken, preprocess, exact=exact))
        except Exception as error:
            return _not_ready(source, error)

    def cancel() -> None:
        """Finish the images in work and drop the rest, because the caller stops."""
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    pool = ThreadPoolExecutor(workers, "fleetnet-images") if workers else None
    try:
        yield from in_order(enumerate(_with_failure(images)), begin, ahead, cancel)
    finally:
        if pool is not None:
            pool.shutdown()


def _with_failure(images: Iterable[ImageLike]) -> Iterator[ImageLike | Ready]:
    """Yield images, and at the end the exception that ended them, if any."""
    try:
        for image in images:  # noqa: UP028 - "yield from" would close the caller's iterable
            yield image
    except Exception as error:
        yield Ready("", failure=error)


def _same(ready: Ready) -> Ready:
    return ready


def _not_ready(source: str, error: Exception) -> Ready:
    if isinstance(error, ImageError):
        return Ready(source, error=str(error))
    return Ready(source, failure=error)


def _pixels_of(taken: str | bytes | Pixels, preprocess: Preprocess, *, exact: bool) -> Pixels:
    if isinstance(taken, np.ndarray):
        return preprocess(taken)
    data = read_bytes(taken) if isinstance(taken, str) else taken
    return preprocess.from_bytes(data, exact=exact)
