"""The same photographs as training batches, by Fleetnet and by others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tests" / "weights")]

from peers import declare_torchvision_operators  # noqa: E402

from fleetnet.data.augment import Augment, random_crop_box  # noqa: E402
from fleetnet.data.loader import Loader  # noqa: E402
from fleetnet.data.sources import Sample  # noqa: E402
from fleetnet.images import read_bytes  # noqa: E402
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

    def read(self, index: int) -> bytes:
        """Return the bytes of a file."""
        return read_bytes(self.files[index % len(self.files)])


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

    def __init__(self) -> None:
        self.rng = np.random.default_rng()
        self.mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
        self.std = torch.tensor(IMAGENET_STD)[:, None, None]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the normalised ``float32[3, H, W]``."""
        box = random_crop_box(image.width, image.height, MIN_SCALE, MAX_RATIO, self.rng)
        image = image.crop(box).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        if self.rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.float().div(255).sub_(self.mean).div_(self.std)


def fleetnet_bytes(photos: Photos, batch: int, workers: int) -> Callable[[], Iterator[Tensor]]:
    """Return epochs of what the loader gives: ``uint8``, normalised later on the device."""
    preprocess = Preprocess(crop=SIZE)
    loader = Loader(
        photos,
        np.arange(len(photos.samples)),
        preprocess,
        batch_size=batch,
        workers=workers,
        augment=Augment(preprocess, min_scale=MIN_SCALE, max_ratio=MAX_RATIO),
    )
    return lambda: (batch.pixels for batch in loader.epoch(0))


def fleetnet_floats(photos: Photos, batch: int, workers: int) -> Callable[[], Iterator[Tensor]]:
    """Return epochs of normalised ``float32``, made by one thread of the reading process."""
    epoch = fleetnet_bytes(photos, batch, workers)
    scale, shift = (torch.from_numpy(part) for part in Preprocess().normalisation())
    return lambda: (torch.addcmul(shift, pixels.float(), scale) for pixels in epoch())


def torchvision_images(photos: Photos, batch: int, workers: int) -> Callable[[], Iterator[Tensor]]:
    """Return epochs of a ``DataLoader`` with torchvision's transforms."""
    declare_torchvision_operators()
    from torchvision import transforms

    return _pillow_epochs(
        photos,
        batch,
        workers,
        transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE, (MIN_SCALE, 1.0), (1 / MAX_RATIO, MAX_RATIO)),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        ),
    )


def plain_images(photos: Photos, batch: int, workers: int) -> Callable[[], Iterator[Tensor]]:
    """Return epochs of a ``DataLoader`` with :class:`Plain`."""
    return _pillow_epochs(photos, batch, workers, Plain())


def _pillow_epochs(
    photos: Photos, batch: int, workers: int, transform: Callable[[Image.Image], Any]
) -> Callable[[], Iterator[Tensor]]:
    images = PillowImages(photos, transform)
    options = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    loader: Iterable[Any] = DataLoader(
        images, batch, shuffle=True, num_workers=workers, **options  # type: ignore[arg-type]
    )  # fmt: skip
    return lambda: (pixels for pixels, _labels in loader)


def timm_images(photos: Photos, batch: int, workers: int) -> Callable[[], Iterator[Tensor]]:
    """Return epochs of timm's ``create_loader``, with crop and flip alone."""
    declare_torchvision_operators()
    from timm.data import create_loader

    loader: Iterable[Any] = create_loader(
        PillowImages(photos, lambda image: image),
        (3, SIZE, SIZE),
        batch,
        is_training=True,
        scale=(MIN_SCALE, 1.0),
        ratio=(1 / MAX_RATIO, MAX_RATIO),
        color_jitter=None,
        interpolation="bilinear",
        num_workers=workers,
        persistent_workers=bool(workers),
        use_prefetcher=False,
        device=torch.device("cpu"),
    )
    return lambda: (pixels for pixels, _labels in loader)
