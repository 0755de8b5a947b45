"""The adapter between another project's names of weights and ours, in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from fleetnet.models.names import Kind, Part, Source
from fleetnet.models.registry import MODELS, ModelEntry, family_of

COUNTER = "num_batches_tracked"
"""Batch norm's count of batches, which matters only in training with a cumulative average."""

_LEAVES: dict[Kind, tuple[str, ...]] = {
    "conv": ("weight", "bias"),
    "norm": ("weight", "bias", "running_mean", "running_var"),
    "linear": ("weight", "bias"),
    "conv-as-linear": ("weight", "bias"),
    "linear-as-conv": ("weight", "bias"),
}


@dataclass(frozen=True)
class Adapter:
    """One source of weights; the families say which of our networks it has."""

    source: Source

    @property
    def name(self) -> str:
        """The source's name for people."""
        return self.source.name

    def parts(self, entry: ModelEntry) -> tuple[Part, ...] | None:
        """Return a network's layers with their names there; None if it is not there."""
        names = family_of(entry).names.get(self.source)
        return None if names is None else names(**entry.arguments)

    def keys(self, entry: ModelEntry, ours: Mapping[str, Tensor]) -> dict[str, tuple[str, Kind]]:
        """Return for every key of ``ours`` their key and the kind of tensor.

        Args:
            entry: the network.
            ours: its state dict here; only the keys are read.

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
        renamed = self.source.norm_leaves
        for part in parts:
            for leaf in _LEAVES[part.kind]:
                key = f"{part.ours}.{leaf}"
                if key in ours:
                    their_leaf = renamed.get(leaf, leaf) if part.kind == "norm" else leaf
                    yield key, (f"{part.theirs}.{their_leaf}", part.kind)

    def to_ours(self, tensor: Tensor, kind: Kind) -> Tensor:
        """Return one of their tensors in our shape."""
        if kind == "linear" and self.source.transposes_linear and tensor.ndim == 2:
            return tensor.t().contiguous()
        if kind == "conv-as-linear" and tensor.ndim == 4:
            return tensor.flatten(1)
        if kind == "linear-as-conv" and tensor.ndim == 2:
            return self.to_ours(tensor, "linear")[:, :, None, None]
        return tensor

    def to_theirs(self, tensor: Tensor, kind: Kind) -> Tensor:
        """Return one of our tensors in their shape."""
        if kind == "linear" and self.source.transposes_linear and tensor.ndim == 2:
            return tensor.t().contiguous()
        if kind == "conv-as-linear" and tensor.ndim == 2:
            return tensor[:, :, None, None]
        if kind == "linear-as-conv" and tensor.ndim == 4:
            return self.to_theirs(tensor.flatten(1), "linear")
        return tensor


def adapters() -> dict[str, Adapter]:
    """Return every source that a family names, by its word, ours first."""
    sources = {
        source: Adapter(source) for entry in MODELS.values() for source in family_of(entry).names
    }
    return {source.word: adapter for source, adapter in sources.items()}
