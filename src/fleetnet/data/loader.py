"""Batches of ``uint8`` pixels for training and evaluation."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fleetnet.data.augment import Augment
from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError, ImageError
from fleetnet.images import Pixels, decode
from fleetnet.preprocess import Preprocess


class Batch(NamedTuple):
    """Some images, ready for the training device."""

    pixels: Tensor
    """``uint8[N, crop, crop, 3]``."""
    labels: Tensor
    """``int64[N]``."""
    unreadable: tuple[str, ...]
    """A line for each image that was left out because it could not be read."""


class _Item(NamedTuple):
    pixels: Pixels
    label: int


class _EpochSampler(Sampler[tuple[int, int]]):
    """Yields ``(epoch, index)``, so that workers that outlive an epoch know which one it is."""

    def __init__(self, indices: Indices, *, shuffle: bool, seed: int, drop_last_below: int) -> None:
        self.indices = indices
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.skip = 0
        # Batch norm needs two images: a remainder of one is left out of a shuffled epoch.
        self.length = len(indices)
        if shuffle and drop_last_below > 1 and self.length % drop_last_below == 1:
            self.length = max(self.length - 1, 1)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = self.indices
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        yield from ((self.epoch, int(index)) for index in order[self.skip : self.length])


class _Images(Dataset[_Item | str]):
    def __init__(self, source: Source, preprocess: Preprocess, augment: Augment | None, seed: int):
        self.source = source
        self.preprocess = preprocess
        self.augment = augment
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> _Item | str:
        epoch, index = key
        sample = self.source.samples[index]
        try:
            pixels = decode(self.source.read(index))
            if self.augment is None:
                pixels = self.preprocess(pixels)
            else:
                pixels = self.augment(pixels, np.random.default_rng([self.seed, epoch, index]))
        except ImageError as error:
            return f"{sample.name}: {error}"
        return _Item(pixels, sample.label)


def _collate(items: list[_Item | str]) -> Batch:
    good = [item for item in items if isinstance(item, _Item)]
    bad = tuple(item for item in items if isinstance(item, str))
    pixels = np.stack([item.pixels for item in good]) if good else np.empty((0, 0, 0, 3), np.uint8)
    labels = torch.tensor([item.label for item in good], dtype=torch.int64)
    return Batch(torch.from_numpy(pixels), labels, bad)


def _context() -> BaseContext:
    """Return how worker processes start: from a clean server, where the system has fork.

    A fork of this process would copy the locks of every thread that PyTorch, OpenVINO and ONNX
    Runtime have started here, and may then stop dead or crash.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fleetnet.data.loader"])
    return context


class Loader:
    """Iterates over batches of a part of a source, epoch after epoch.

    With ``augment`` the order is shuffled and each image varied, both by ``seed`` and the epoch
    alone; without, the order is that of ``indices`` and images are preprocessed as in inference.
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
    ) -> None:
        if not len(indices):
            raise DataError(f"no images to load from {source.description}")
        self._sampler = _EpochSampler(
            indices, shuffle=augment is not None, seed=seed, drop_last_below=batch_size
        )
        self._batch_size = batch_size
        options: dict[str, Any] = {"generator": torch.Generator()}
        if workers:
            options |= {
                "multiprocessing_context": _context(),
                "persistent_workers": True,
                "prefetch_factor": 4,
            }
        self._loader = DataLoader(
            _Images(source, preprocess, augment, seed),
            batch_size=batch_size,
            sampler=self._sampler,
            num_workers=workers,
            collate_fn=_collate,
            **options,
        )

    def __len__(self) -> int:
        return len(self._loader)

    @property
    def images(self) -> int:
        """How many images an epoch has, unreadable ones included."""
        return len(self._sampler)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` from batch ``start`` on."""
        self._sampler.epoch = number
        self._sampler.skip = start * self._batch_size
        yield from self._loader
