"""A network that is one chain: a stem, blocks one after the other, and a classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fleetnet.models.base import Network, Stage
from fleetnet.models.initialise import initialise


class Chain(Network):
    """A stem, blocks, a head where there is one, the pool, a neck where there is one, a classifier.

    Args:
        stem: takes the images; its convolution is ``conv``.
        blocks: in the order they run.
        num_classes: length of the logits.
        num_features: channels of the last feature map.
        head: follows the blocks, if there is one.
        neck: follows the pool, if there is one.
        neck_width: what the neck gives; 0 without one.
        kept: what the inputs of the classifier are multiplied by.
        dropout: probability of dropping an input of the classifier in training.
        block_names: dotted names of the blocks, all below one; else ``blocks.0`` and so on.
    """

    input_layer = "stem.conv"
    classifier_layer = "classifier"

    def __init__(
        self,
        stem: nn.Module,
        blocks: nn.Sequential,
        num_classes: int,
        *,
        num_features: int,
        head: nn.Module | None = None,
        neck: nn.Module | None = None,
        neck_width: int = 0,
        kept: float = 1.0,
        dropout: float = 0.0,
        block_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, num_features
        self.block_names = tuple(block_names) or tuple(f"blocks.{n}" for n in range(len(blocks)))
        self.stem = stem
        self.add_module(self._root, blocks)
        self.head = nn.Identity() if head is None else head
        self.neck = nn.Identity() if neck is None else neck
        self.kept = kept
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(neck_width or num_features, num_classes)
        self.apply(initialise)

    @property
    def _root(self) -> str:
        return self.block_names[0].partition(".")[0]

    def stages(self) -> tuple[Stage, ...]:
        """Return the stem, each block, the head and the neck where they are, and the classifier."""
        names = ("stem", *self.block_names, "head", "neck", "classifier")
        modules = {name: self.get_submodule(name) for name in names}
        return tuple(
            Stage(name, {name: module})
            for name, module in modules.items()
            if not isinstance(module, nn.Identity)
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to the last feature map, ``float32[N, F, H/32, W/32]``."""
        blocks = self.get_submodule(self._root)
        features: Tensor = self.head(blocks(self.after_stem(self.stem(x))))
        return features

    def after_stem(self, x: Tensor) -> Tensor:
        """Return what the blocks get of what the stem gives: the same, unless a family differs."""
        return x

    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature map to the logits, ``float32[N, num_classes]``."""
        x: Tensor = self.neck(self.pool(features))
        if self.kept != 1.0:
            x = x * self.kept
        logits: Tensor = self.classifier(self.dropout(x))
        return logits
