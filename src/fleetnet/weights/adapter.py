"""What an adapter between somebody's names for weights and ours is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from fleetnet.models.registry import ModelEntry

Kind = Literal["conv", "norm", "linear", "conv-as-linear"]

COUNTER = "num_batches_tracked"
"""Batch norm's count of batches: of no use outside of training with a cumulative average."""

_LEAVES: dict[Kind, tuple[str, ...]] = {
    "conv": ("weight", "bias"),
    "norm": ("weight", "bias", "running_mean", "running_var"),
    "linear": ("weight", "bias"),
    "conv-as-linear": ("weight", "bias"),
}


class Part(NamedTuple):
    """A layer: what it is called here and there."""

    ours: str
    theirs: str
    kind: Kind


@dataclass(frozen=True)
class Adapter:
    """One source of weights.

    Attributes:
        name: what people call the source.
        parts: the layers of one of our networks with their names there; None where the source
            does not have that network.
        norm_leaves: their names of a norm's tensors where they differ from PyTorch's.
        transposes_linear: whether a linear layer's weight is ``[in, out]`` there.
    """

    name: str
    parts: Callable[[ModelEntry], tuple[Part, ...] | None]
    norm_leaves: Mapping[str, str]
    transposes_linear: bool = False

    def keys(self, entry: ModelEntry, ours: Mapping[str, Tensor]) -> dict[str, tuple[str, Kind]]:
        """Return our key to their key and kind, for every tensor of ``ours``.

        Args:
            entry: the network.
            ours: its state dict here, of which only the keys are read.

        Raises:
            ValueError: the source does not have the network.
        """
        parts = self.parts(entry)
        if parts is None:
            raise ValueError(f"{self.name} has no {entry.name}")
        return dict(self._pairs(parts, ours))

    def _pairs(
        self, parts: tuple[Part, ...], ours: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, tuple[str, Kind]]]:
        for part in parts:
            for leaf in _LEAVES[part.kind]:
                key = f"{part.ours}.{leaf}"
                if key in ours:
                    their_leaf = self.norm_leaves.get(leaf, leaf) if part.kind == "norm" else leaf
                    yield key, (f"{part.theirs}.{their_leaf}", part.kind)

    def to_ours(self, tensor: Tensor, kind: Kind) -> Tensor:
        """Return one of their tensors in our shape."""
        if kind == "linear" and self.transposes_linear and tensor.ndim == 2:
            return tensor.t().contiguous()
        if kind == "conv-as-linear" and tensor.ndim == 4:
            return tensor.flatten(1)
        return tensor

    def to_theirs(self, tensor: Tensor, kind: Kind) -> Tensor:
        """Return one of our tensors in their shape."""
        if kind == "linear" and self.transposes_linear and tensor.ndim == 2:
            return tensor.t().contiguous()
        if kind == "conv-as-linear" and tensor.ndim == 2:
            return tensor[:, :, None, None]
        return tensor


def conv_norm(ours: str, conv: str, norm: str) -> tuple[Part, Part]:
    """Return the two parts of one of our ``ConvNormAct`` layers."""
    return Part(f"{ours}.conv", conv, "conv"), Part(f"{ours}.norm", norm, "norm")
