"""The same photographs as training batches, by Fleetnet and by others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tests" / "weights")]

from peers import declare_torchvision_operators  # noqa: E402

from fleetnet.data.augment import Augment, random_crop_box  # noqa: E402
from fleetnet.data.loader import Loader  # noqa: E402
from fleetnet.data.sources import Sample  # noqa: E402
from fleetnet.image_bytes import read_bytes  # noqa: E402
from fleetnet.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess  # noqa: E402

SIZE = 224
MIN_SCALE = 0.08
MAX_RATIO = 4 / 3


@dataclass(frozen=True)
class Photos:
    """Files as a source of one class each, so often that an epoch is worth timing."""

    files: tuple[Path, ...]
    repeats: int

    description = "photographs"
    multi_label = False
    shards = None

    @property
    def spec(self) -> dict[str, str]:
        """Nothing: this source is not opened again."""
        return {}

    @property
    def classes(self) -> tuple[str, ...]:
        """A class a file."""
        return tuple(file.stem for file in self.files)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every file, ``repeats`` times."""
        once = tuple(Sample(file.name, (label,)) for label, file in enumerate(self.files))
        return once * self.repeats

    def size(self, _index: int) -> int | None:
        """Not needed."""
        return None

    def read(self, index: int) -> bytes:
        """Return the bytes of a file."""
        return read_bytes(self.files[index % len(self.files)])


class Setup(NamedTuple):
    """What every pipeline is to do."""

    photos: Photos
    batch: int
    workers: int
    color_jitter: float


Epochs = Callable[[], Iterator[Tensor]]


class PillowImages(Dataset[tuple[Any, int]]):
    """Files opened by Pillow and transformed, as torchvision's ``ImageFolder`` does."""

    def __init__(self, photos: Photos, transform: Callable[[Image.Image], Any]) -> None:
        self.photos = photos
        self.transform = transform

    def __len__(self) -> int:
        return len(self.photos.files) * self.photos.repeats

    def __getitem__(self, index: int) -> tuple[Any, int]:
        label = index % len(self.photos.files)
        with self.photos.files[label].open("rb") as file:
            image = Image.open(file).convert("RGB")
        return self.transform(image), label


class Plain:
    """The arithmetic of torchvision's usual transforms, where that does not import."""

    def __init__(self, color_jitter: float) -> None:
        self.color_jitter = color_jitter
        self.rng = np.random.default_rng()
        self.mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
        self.std = torch.tensor(IMAGENET_STD)[:, None, None]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the normalised ``float32[3, H, W]``."""
        box = random_crop_box(image.width, image.height, MIN_SCALE, MAX_RATIO, self.rng)
        image = image.crop(box).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        if self.rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.color_jitter:
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                factor = self.rng.uniform(1 - self.color_jitter, 1 + self.color_jitter)
                image = enhance(image).enhance(factor)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.float().div(255).sub_(self.mean).div_(self.std)


def fleetnet_bytes(setup: Setup) -> Epochs:
    """Return epochs of what the loader gives: ``uint8``, normalised later on the device."""
    preprocess = Preprocess(crop=SIZE)
    loader = Loader(
        setup.photos,
        np.arange(len(setup.photos.samples)),
        preprocess,
        batch_size=setup.batch,
        workers=setup.workers,
        augment=Augment(
            preprocess,
            min_scale=MIN_SCALE,
            max_ratio=MAX_RATIO,
            color_jitter=setup.color_jitter,
        ),
    )
    return lambda: (batch.pixels for batch in loader.batches())


def fleetnet_floats(setup: Setup) -> Epochs:
    """Return epochs of normalised ``float32``, made by one thread of the reading process."""
    epoch = fleetnet_bytes(setup)
    # A factor for each number of a row, because vectors of three are slow.
    scale, shift = (torch.from_numpy(part).repeat(SIZE) for part in Preprocess().normalisation())

    def to_float(pixels: Tensor) -> Tensor:
        rows = pixels.view(len(pixels), SIZE, SIZE * 3).float()
        return rows.mul_(scale).add_(shift).view_as(pixels)

    return lambda: map(to_float, epoch())


def torchvision_images(setup: Setup) -> Epochs:
    """Return epochs of a ``DataLoader`` with torchvision's transforms."""
    declare_torchvision_operators()
    from torchvision import transforms

    steps: list[Callable[[Any], Any]] = [
        transforms.RandomResizedCrop(SIZE, (MIN_SCALE, 1.0), (1 / MAX_RATIO, MAX_RATIO)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    if setup.color_jitter:
        steps.insert(2, transforms.ColorJitter(*[setup.color_jitter] * 3))
    return _pillow_epochs(setup, transforms.Compose(steps))


def plain_images(setup: Setup) -> Epochs:
    """Return epochs of a ``DataLoader`` with :class:`Plain`."""
    return _pillow_epochs(setup, Plain(setup.color_jitter))


def _pillow_epochs(setup: Setup, transform: Callable[[Image.Image], Any]) -> Epochs:
    options: dict[str, Any] = {}
    if setup.workers:
        options = {"persistent_workers": True, "prefetch_factor": 4}
    loader: Iterable[Any] = DataLoader(
        PillowImages(setup.photos, transform),
        setup.batch,
        shuffle=True,
        num_workers=setup.workers,
        **options,
    )
    return lambda: (pixels for pixels, _labels in loader)


def timm_images(setup: Setup) -> Epochs:
    """Return epochs of timm's ``create_loader``, with only crop, flip and jitter."""
    declare_torchvision_operators()
    from timm.data import create_loader

    loader: Iterable[Any] = create_loader(
        PillowImages(setup.photos, lambda image: image),
        (3, SIZE, SIZE),
        setup.batch,
        is_training=True,
        scale=(MIN_SCALE, 1.0),
        ratio=(1 / MAX_RATIO, MAX_RATIO),
        color_jitter=setup.color_jitter or None,
        interpolation="bilinear",
        num_workers=setup.workers,
        persistent_workers=bool(setup.workers),
        use_prefetcher=False,
        device=torch.device("cpu"),
    )
    return lambda: (pixels for pixels, _labels in loader)
