"""Images made ready ahead of the network by threads, in order and in bounded memory.

Reading a file, decoding and resizing all let go of Python's lock, so threads share the processors
with each other and with the network; nothing has to be sent between processes.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetnet import images as image_files
from fleetnet.errors import ImageError
from fleetnet.preprocess import Preprocess

ImageLike = (
    str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
)


@dataclass(frozen=True)
class Ready:
    """An image as the network takes it, or why there is none.

    Attributes:
        source: the path, or ``image 0``, ``image 1``, … where the image had none.
        pixels: ``uint8[crop, crop, 3]``, or None.
        error: why this image cannot be read, else None.
        failure: what ends the stream here, to be raised once the answers before it are given.
    """

    source: str
    pixels: npt.NDArray[np.uint8] | None = None
    error: str | None = None
    failure: Exception | None = None


def look_ahead(workers: int, batch_size: int) -> int:
    """Return how many images to make before they are asked for.

    That is the next batch, and for each worker one that it is making and one that waits for it.
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

    Files and bytes are for the workers. Arrays and Pillow images are made ready at once, before
    the next image is taken: whoever gave them may change or close them then.

    Args:
        images: what to make ready; an exception that it raises becomes the last ``failure``.
        preprocess: how.
        exact: False allows a large JPEG to be decoded smaller.
        workers: how many threads; 0 for none.
        ahead: how many images are taken before they are asked for.
    """

    def make(number: int, image: ImageLike | Ready) -> Ready:
        if isinstance(image, Ready):
            return image
        source = os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {number}"
        try:
            return Ready(source, _pixels_of(image, preprocess, exact=exact))
        except ImageError as error:
            return Ready(source, error=str(error))
        except Exception as error:
            return Ready(source, failure=error)

    pool = ThreadPoolExecutor(workers, "fleetnet-images") if workers else None
    waiting: deque[Callable[[], Ready]] = deque()
    try:
        for number, image in enumerate(_with_failure(images)):
            job = functools.partial(make, number, image)
            if pool is not None and isinstance(image, str | os.PathLike | bytes):
                waiting.append(pool.submit(job).result)
            else:
                waiting.append(functools.partial(_same, job()))
            if len(waiting) > ahead:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()
    finally:
        if pool is not None:
            # Also where the caller has had enough: what is being made is finished, the rest not.
            pool.shutdown(cancel_futures=True)


def _with_failure(images: Iterable[ImageLike]) -> Iterator[ImageLike | Ready]:
    """Yield images, and the exception that ends them, if one does, in its place."""
    try:
        for image in images:  # noqa: UP028 - "yield from" would close what is the caller's
            yield image
    except Exception as error:
        yield Ready("", failure=error)


def _same(ready: Ready) -> Ready:
    return ready


def _pixels_of(image: ImageLike, preprocess: Preprocess, *, exact: bool) -> npt.NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        return preprocess(image_files.from_array(image, preprocess.sample_bits))
    if isinstance(image, Image.Image):
        return preprocess(image_files.from_pil(image, preprocess.sample_bits))
    data = image if isinstance(image, bytes) else image_files.read_bytes(image)
    return preprocess.from_bytes(data, exact=exact)
