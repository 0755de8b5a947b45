"""Batches of images as worker processes make them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from fleetnet.data.ahead import Announced
from fleetnet.data.augment import Augment
from fleetnet.data.contents import NONE, Contents, content_of
from fleetnet.data.sampling import Draw, InOrder, Shuffled
from fleetnet.data.seeds import generator
from fleetnet.data.shares import Place, shared
from fleetnet.data.sources import Source
from fleetnet.errors import ImageError
from fleetnet.images import Pixels
from fleetnet.preprocess import Preprocess


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


class Made(NamedTuple):
    """A batch as it leaves a worker.

    Only the pixels are a tensor: PyTorch sends each tensor through a connection of its own, which
    is worth it for megabytes but not for a few numbers.
    """

    pixels: Tensor
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    unreadable: tuple[str, ...]
    indices: npt.NDArray[np.int64]
    contents: Contents


class Request(NamedTuple):
    """The images of a batch, and which of them no earlier batch had."""

    draw: Draw
    new: npt.NDArray[np.bool_]


class Requests(Sampler[Request]):
    """Yields the images of each batch with the epoch, because workers outlive an epoch.

    Of several processes that train together, each yields its share of the same batches.
    """

    def __init__(self, order: InOrder | Shuffled | Announced, samples: int, place: Place) -> None:
        self.order = order
        self.place = place
        self.epoch = 0
        self.start = 0
        self.seen = np.zeros(samples, bool)

    def __len__(self) -> int:
        return -(-self.order.images // self.order.batch_size) - self.start

    def __iter__(self) -> Iterator[Request]:
        for position, whole in enumerate(self.order.draws(self.epoch)):
            if position >= self.start:
                draw = shared(whole, self.place)
                yield Request(draw, ~self.seen[draw.indices])


class Batches(Dataset[Made]):
    """Makes whole batches, so that pixels are written right into the array that is sent."""

    def __init__(
        self, source: Source, preprocess: Preprocess, augment: Augment | None, seed: int
    ) -> None:
        self.source = source
        self.preprocess = preprocess
        self.augment = augment
        self.seed = seed

    def __getitem__(self, request: Request) -> Made:
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
                pixels[len(good)] = self._make(data, draw.epoch, index, copy, sound=not new)
            except ImageError as error:
                bad.append(f"{self.source.samples[index].name}: {error}")
            else:
                good.append(index)
                if new:
                    contents.append(content_of(data))
        return Made(
            torch.from_numpy(pixels[: len(good)]),
            self._labels(good),
            tuple(bad),
            np.array(good, np.int64),
            np.array(contents, np.uint64),
        )

    def _make(self, data: bytes, epoch: int, index: int, copy: int, *, sound: bool) -> Pixels:
        if self.augment is None:
            return self.preprocess.from_bytes(data)
        rng = generator(self.seed, "image", epoch, index, copy)
        return self.augment.from_bytes(data, rng, sound=sound)

    def _labels(self, indices: list[int]) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        samples = self.source.samples
        if not self.source.multi_label:
            return np.array([samples[index].label for index in indices], np.int64)
        labels = np.zeros((len(indices), len(self.source.classes)), np.float32)
        for row, index in enumerate(indices):
            labels[row, list(samples[index].labels)] = 1.0
        return labels
