"""Teachers: trained networks of any kind, which answer what a student sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fleetnet.data.contents import NONE, Contents
from fleetnet.inference.engines import Engine
from fleetnet.models.normalisation import Normalisation
from fleetnet.preprocess import Preprocess


class Teacher(Protocol):
    """A trained network that answers in the order of the student's classes."""

    @property
    def name(self) -> str:
        """The word by which it was opened."""
        ...

    @property
    def identity(self) -> str:
        """A word that is another one for other weights."""
        ...

    @property
    def network(self) -> nn.Module | None:
        """The module, if it can be looked into."""
        ...

    @property
    def trained_images(self) -> Contents:
        """The contents of the images that it was trained on, as far as they are known."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """How its images are prepared."""
        ...

    def logits(self, pixels: Tensor) -> Tensor:
        """Map ``float32[N, H, W, 3]``, from 0 to 255, to ``float32[N, K]``, without gradients."""
        ...


@dataclass(frozen=True, eq=False)
class NetworkTeacher:
    """A network in PyTorch.

    Attributes:
        name: as in :class:`Teacher`.
        identity: likewise.
        network: on the device, see :func:`ready`.
        preprocess: gives side and normalisation.
        order: ``int64[K]``, where the student's classes are among the network's.
        trained_images: as in :class:`Teacher`.
    """

    name: str
    identity: str
    network: nn.Module
    preprocess: Preprocess
    order: Tensor
    trained_images: Contents = field(default_factory=lambda: NONE)

    def logits(self, pixels: Tensor) -> Tensor:
        """Answer pixels of any size, which are resized to the network's."""
        normalise = Normalisation(*self.preprocess.normalisation(), pixels.device)
        normalised = normalise.channels_last(_of_side(pixels, self.preprocess.crop))
        with torch.no_grad():
            found: Tensor = self.network(normalised.permute(0, 3, 1, 2))
        return found.float()[:, self.order]


@dataclass(frozen=True, eq=False)
class EngineTeacher:
    """A bundle that another engine runs, such as a lone ``.onnx`` file; see :class:`Teacher`."""

    name: str
    identity: str
    engine: Engine
    preprocess: Preprocess
    order: Tensor
    trained_images: Contents = field(default_factory=lambda: NONE)

    @property
    def network(self) -> None:
        """A graph cannot be looked into."""

    def logits(self, pixels: Tensor) -> Tensor:
        """Answer pixels of any size, resized to the network's and rounded, as engines take them."""
        sized = _of_side(pixels, self.preprocess.crop).round().clamp(0, 255).byte()
        # One image at a time, because some graphs take no more.
        rows = [self.engine.run(image[None]) for image in sized.cpu().numpy()]
        return torch.from_numpy(np.concatenate(rows))[:, self.order.cpu()].to(pixels.device)


def ready(network: nn.Module, device: torch.device, *, batch_statistics: bool) -> nn.Module:
    """Return a network that is only asked: no gradients, and its statistics stay as they are.

    Args:
        network: which is changed.
        device: to compute on.
        batch_statistics: normalise each batch by its own mean and deviation, as SSLD does, whose
            authors found that it teaches better (76.00 % instead of 75.84 %).
    """
    network = network.to(device).eval().requires_grad_(requires_grad=False)
    for module in network.modules():
        if batch_statistics and isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
            module.train()
    return network


def averaged(teachers: Sequence[Teacher], pixels: Tensor) -> Tensor:
    """Return the logarithms of the mean of the teachers' probabilities, ``float32[N, K]``."""
    answers = torch.stack([functional.log_softmax(one.logits(pixels), 1) for one in teachers])
    mean = answers.logsumexp(0) - float(np.log(len(teachers)))
    return functional.log_softmax(mean, 1)


def _of_side(pixels: Tensor, side: int) -> Tensor:
    """Return square pixels ``float32[N, H, W, 3]`` with sides of so many px."""
    if pixels.shape[1] == side:
        return pixels
    return functional.interpolate(
        pixels.permute(0, 3, 1, 2), (side, side), mode="bilinear", antialias=True
    ).permute(0, 2, 3, 1)
