"""A network whose weights were fine-tuned for int8, as quantisers take it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetnet.amounts import count
from fleetnet.data.contents import NONE, Contents


@dataclass(frozen=True)
class Finetuned:
    """A network in fp32 whose weights were trained with the rounding of int8.

    Attributes:
        content: of its ONNX file: the bundle's graph with other weights.
        epochs: for how many it was trained.
        images: how many images an epoch had, without those that could not be read.
        learnt: the contents of those images.
        unreadable: a line for each image that was left out.
    """

    content: bytes
    epochs: int
    images: int
    learnt: Contents = field(default_factory=lambda: NONE)
    unreadable: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return what a manifest says of it, after the tool's name."""
        return f"fine-tuned for {count(self.epochs, 'epoch')} of {count(self.images, 'image')}"
