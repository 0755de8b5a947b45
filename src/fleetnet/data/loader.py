"""Batches of ``uint8`` pixels for training and evaluation."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fleetnet.data.augment import Augment
from fleetnet.data.contents import NONE, Contents, content_of
from fleetnet.data.sampling import Draw, InOrder, Sampling, Shuffled
from fleetnet.data.seeds import generator
from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError, ImageError
from fleetnet.images import Pixels
from fleetnet.preprocess import Preprocess

_PREFETCHED_BYTES = 64 * 2**20
"""Batches that a worker may have ready in shared memory, beyond the two that keep it busy."""

_DEATHS = ("exited unexpectedly", "killed by signal", "shared memory", "No space left on device")
"""In PyTorch's messages when a worker has died or shared memory is full."""


class Batch(NamedTuple):
    """Some images, ready for the training device."""

    pixels: Tensor
    """``uint8[N, crop, crop, 3]``."""
    labels: Tensor
    """``int64[N]``; of multi-label data ``float32[N, K]``, 1 where the image has the label."""
    unreadable: tuple[str, ...]
    """A line for each image that was left out because it could not be read."""
    indices: Tensor
    """``int64[N]``, which samples of the source these are."""
    contents: Contents = NONE
    """``uint64[M]``: contents of those of the images that no earlier batch had."""


class _Made(NamedTuple):
    """A batch as it leaves a worker.

    Only the pixels are a tensor: PyTorch sends each tensor through a connection of its own, which
    is worth it for megabytes but not for a few numbers.
    """

    pixels: Tensor
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    unreadable: tuple[str, ...]
    indices: npt.NDArray[np.int64]
    contents: Contents


class _Request(NamedTuple):
    """The images of a batch, and which of them no earlier batch had."""

    draw: Draw
    new: npt.NDArray[np.bool_]


class _Requests(Sampler[_Request]):
    """Yields the images of each batch with the epoch, because workers outlive an epoch."""

    def __init__(self, order: InOrder | Shuffled, samples: int) -> None:
        self.order = order
        self.epoch = 0
        self.start = 0
        self.seen = np.zeros(samples, bool)

    def __len__(self) -> int:
        return -(-self.order.images // self.order.batch_size) - self.start

    def __iter__(self) -> Iterator[_Request]:
        for position, draw in enumerate(self.order.draws(self.epoch)):
            if position >= self.start:
                yield _Request(draw, ~self.seen[draw.indices])


class _Batches(Dataset[_Made]):
    """Makes whole batches, so that pixels are written right into the array that is sent."""

    def __init__(
        self, source: Source, preprocess: Preprocess, augment: Augment | None, seed: int
    ) -> None:
        self.source = source
        self.preprocess = preprocess
        self.augment = augment
        self.seed = seed

    def __getitem__(self, request: _Request) -> _Made:
        draw = request.draw
        size = self.preprocess.crop
        pixels = np.empty((len(draw.indices), size, size, 3), np.uint8)
        good: list[int] = []
        bad: list[str] = []
        contents: list[int] = []
        columns = (column.tolist() for column in (draw.indices, draw.copies, request.new))
        for index, copy, new in zip(*columns, strict=True):
            try:
                data = self.source.read(index)
                pixels[len(good)] = self._make(data, draw.epoch, index, copy)
            except ImageError as error:
                bad.append(f"{self.source.samples[index].name}: {error}")
            else:
                good.append(index)
                if new:
                    contents.append(content_of(data))
        return _Made(
            torch.from_numpy(pixels[: len(good)]),
            self._labels(good),
            tuple(bad),
            np.array(good, np.int64),
            np.array(contents, np.uint64),
        )

    def _make(self, data: bytes, epoch: int, index: int, copy: int) -> Pixels:
        if self.augment is None:
            return self.preprocess.from_bytes(data)
        return self.augment.from_bytes(data, generator(self.seed, "image", epoch, index, copy))

    def _labels(self, indices: list[int]) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        samples = self.source.samples
        if not self.source.multi_label:
            return np.array([samples[index].label for index in indices], np.int64)
        labels = np.zeros((len(indices), len(self.source.classes)), np.float32)
        for row, index in enumerate(indices):
            labels[row, list(samples[index].labels)] = 1.0
        return labels


class Loader:
    """Iterates over batches of some images of a source, epoch after epoch.

    With ``augment`` the order is shuffled and images are augmented, which depends only on the seed,
    the epoch, the image and its copy, not on the number of workers. Without, the order is that of
    ``indices``, and images are preprocessed as in inference.

    Args:
        source: labelled images.
        indices: of the images to load.
        preprocess: gives the size, and in evaluation the preprocessing.
        batch_size: images in a batch.
        workers: processes that prepare batches; 0 does it in this one.
        augment: of training images; None for evaluation.
        seed: of order and augmentation.
        sampling: see :class:`fleetnet.data.sampling.Shuffled`; only in training.
        repeats: the same.
        buffer: the same.
        strict: stop at the first image that cannot be read instead of leaving it out.

    Raises:
        DataError: no images.
    """

    def __init__(
        self,
        source: Source,
        indices: Indices,
        preprocess: Preprocess,
        *,
        batch_size: int,
        workers: int,
        augment: Augment | None = None,
        seed: int = 0,
        sampling: Sampling = "shuffle",
        repeats: int = 1,
        buffer: int = 4096,
        strict: bool = False,
    ) -> None:
        if not len(indices):
            raise DataError(f"no images to load from {source.description}")
        self._order: InOrder | Shuffled = InOrder(indices, batch_size)
        if augment is not None:
            self._order = Shuffled(
                source,
                indices,
                batch_size=batch_size,
                seed=seed,
                sampling=sampling,
                repeats=repeats,
                buffer=buffer,
            )
        self._requests = _Requests(self._order, len(source.samples))
        self._workers = workers
        self._strict = strict
        self._loader = DataLoader(
            _Batches(source, preprocess, augment, seed),
            batch_size=None,
            sampler=self._requests,
            num_workers=workers,
            collate_fn=_as_it_is,
            # Its own: PyTorch's global one would give other dropout with other numbers of workers.
            generator=torch.Generator(),
            **_worker_options(workers, batch_size * preprocess.crop**2 * 3),
        )

    def __len__(self) -> int:
        return -(-self._order.images // self._order.batch_size)

    @property
    def images(self) -> int:
        """How many images an epoch has, unreadable ones included."""
        return self._order.images

    def batches(self, epoch: int = 1, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 1, from batch ``start`` on, counted from 0.

        The epoch decides on order and variation, and so on nothing in evaluation. The batches are
        the same as in the whole epoch, so that an interrupted run continues exactly.

        Raises:
            DataError: a worker process died; or, with ``strict``, an image cannot be read.
        """
        self._requests.epoch, self._requests.start = epoch, start
        try:
            for made in self._loader:
                if self._strict and made.unreadable:
                    raise DataError(f"cannot read {made.unreadable[0]} (data.strict is on)")
                labels, indices = torch.from_numpy(made.labels), torch.from_numpy(made.indices)
                self._requests.seen[made.indices] = True
                yield Batch(made.pixels, labels, made.unreadable, indices, made.contents)
        except (RuntimeError, OSError, EOFError, MemoryError) as error:
            self._explain(error)

    def close(self) -> None:
        """End the worker processes; the next epoch starts new ones.

        Left to the garbage collector, they end whenever it happens to run, and PyTorch may then
        wait five seconds for each.
        """
        self._loader._iterator = None

    def _explain(self, error: Exception) -> NoReturn:
        """Raise a one-line error if a worker died, else the error itself."""
        if not self._workers or not _is_death(error):
            raise error
        workers = getattr(self._loader._iterator, "_workers", [])
        codes = [worker.exitcode for worker in workers if worker.exitcode]
        self.close()
        which = "the process" if self._workers == 1 else f"one of the {self._workers} processes"
        if codes and max(codes) > 0:
            raise DataError(
                f"{which} that load images ended with exit code {max(codes)}: what it printed "
                "says why; set data.workers=0 loads images without them",
                settings=["data.workers"],
            ) from None
        raise DataError(
            f"{which} that load images died, most likely for want of memory (RAM, or the shared "
            "memory of a container): try fewer, or none, with set data.workers=0",
            settings=["data.workers"],
        ) from None


def _is_death(error: Exception) -> bool:
    connection_lost = isinstance(error, ConnectionError | EOFError | MemoryError)
    return connection_lost or any(words in str(error) for words in _DEATHS)


def _as_it_is(batch: Any) -> Any:
    return batch


def _worker_options(workers: int, batch_bytes: int) -> dict[str, Any]:
    if not workers:
        return {}
    return {
        "multiprocessing_context": _context(),
        "persistent_workers": True,
        "prefetch_factor": min(max(_PREFETCHED_BYTES // batch_bytes, 2), 4),
        "worker_init_fn": _begin_worker,
    }


def _begin_worker(_number: int) -> None:
    # Ctrl-C reaches every process of the terminal; the main process handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _say_unless_disconnected
    # Pillow warns of damaged EXIF and the like; unreadable images are named in the batch.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _say_unless_disconnected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an error of a worker's sending thread, unless the receiver is gone."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _context() -> BaseContext:
    """Return how worker processes start: by a fork server, where the system has fork.

    A fork of this process would copy the locks of the threads that PyTorch, OpenVINO and ONNX
    Runtime have started here, and might deadlock or crash.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fleetnet.data.loader"])
    with _interrupts_ignored():
        # Workers inherit this, before they can set it themselves.
        multiprocessing.forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change what signals do
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
