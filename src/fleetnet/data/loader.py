"""Batches of ``uint8`` pixels for training and evaluation, one epoch after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch.utils.data import DataLoader

from fleetnet.data.ahead import announced
from fleetnet.data.augment import Augment
from fleetnet.data.batches import Batch, Batches, Requests
from fleetnet.data.sampling import InOrder, Sampling, Shuffled
from fleetnet.data.shares import ALONE, Place
from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.data.workers import is_death, worker_options
from fleetnet.errors import DataError
from fleetnet.preprocess import Preprocess


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
        place: of this process among those that train together: each loads its share of every batch,
            which may be empty.

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
        place: Place = ALONE,
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
        self._requests = Requests(announced(source, self._order), len(source.samples), place)
        self._workers = workers
        self._strict = strict
        self._loader = DataLoader(
            Batches(source, preprocess, augment, seed),
            batch_size=None,
            sampler=self._requests,
            num_workers=workers,
            collate_fn=_as_it_is,
            # Its own: PyTorch's global one would give other dropout with other numbers of workers.
            generator=torch.Generator(),
            **worker_options(workers, -(-batch_size // place.size) * preprocess.crop**2 * 3),
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
        if not self._workers or not is_death(error):
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


def _as_it_is(batch: Any) -> Any:
    return batch
