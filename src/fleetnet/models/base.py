"""The contract of a network: what a family of networks has to provide.

Freezing, layer-wise learning rates, Grad-CAM, folding, channel padding, export, the search for the
layer that diverges, and the recognition of weights use only this contract. None of them knows the
layer names of a family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from fleetnet.models.initialise import initialise
from fleetnet.models.names import Part, Source

Rounded = Callable[[int], int]
"""Returns the width that a number of channels is padded to."""


@dataclass(frozen=True)
class Stage:
    """A part of a network that is frozen, or has a learning rate, as a whole.

    Attributes:
        name: unique among the stages.
        modules: its modules by their dotted names, in the order data flows.
    """

    name: str
    modules: Mapping[str, nn.Module]

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield its parameters."""
        for module in self.modules.values():
            yield from module.parameters()


class Network(nn.Module, ABC):
    """A classifier of images: a module that takes normalised ``float32[N, C, H, W]``.

    A family's class names its stages and computes features and logits. A batch norm comes right
    after its convolution or linear layer in an ``nn.Sequential``, where
    :func:`fleetnet.models.folding.fold_batch_norm` finds it; any other is refused. Every activation
    gives 0 for 0, so that channels of zeros stay zeros.

    Attributes:
        num_classes: length of the logits.
        num_features: width of the embedding.
        input_layer: dotted name of the convolution that takes the image. Only padding may come
            before it, because normalisation is folded into it.
        classifier_layer: dotted name of the linear layer that gives the logits.
    """

    num_classes: int
    num_features: int
    input_layer: str
    classifier_layer: str

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """Return the parts in the order data flows; the last is only the classifier.

        Every parameter is in one of them.
        """

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to the last feature map, ``float32[N, F, H', W']``."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature map to the logits, ``float32[N, num_classes]``."""

    def pool(self, features: Tensor) -> Tensor:
        """Map the last feature map to its spatial mean, ``float32[N, F]``."""
        return features.mean((2, 3))

    def embedding(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to the pooled features, ``float32[N, num_features]``."""
        return self.pool(self.forward_features(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to logits, ``float32[N, num_classes]``."""
        return self.classify(self.forward_features(x))

    @property
    def first_convolution(self) -> nn.Conv2d:
        """The convolution that takes the image."""
        layer = self.get_submodule(self.input_layer)
        assert isinstance(layer, nn.Conv2d)  # noqa: S101 - for the type checker
        return layer

    @property
    def classifier_parameters(self) -> tuple[str, ...]:
        """Names of the parameters whose size depends on the number of classes."""
        layer = self.get_submodule(self.classifier_layer)
        return tuple(f"{self.classifier_layer}.{name}" for name, _ in layer.named_parameters())

    def replace_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a fresh one for so many classes."""
        old = self.get_submodule(self.classifier_layer)
        assert isinstance(old, nn.Linear)  # noqa: S101 - for the type checker
        fresh = nn.Linear(
            old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype
        )
        initialise(fresh)
        self.set_submodule(self.classifier_layer, fresh)
        self.num_classes = num_classes

    def zero_residuals(self) -> None:
        """Make every block with a shortcut start as only that shortcut (Goyal et al. 2017, 5.1).

        The blocks do it, see :class:`Residual`.
        """
        for module in self.modules():
            if isinstance(module, Residual):
                module.zero_residual()

    def layers(self) -> dict[str, nn.Module]:
        """Return the layers whose outputs can be compared, by name, in the order they run.

        These are the modules of the stages; for a :class:`Composed` module, its inner layers.
        """
        found: dict[str, nn.Module] = {}
        for stage in self.stages():
            for name, module in stage.modules.items():
                if isinstance(module, Composed):
                    found |= {
                        f"{name}.{part}": module.get_submodule(part) for part in module.composed_of
                    }
                else:
                    found[name] = module
        return {name: layer for name, layer in found.items() if not isinstance(layer, nn.Identity)}


@runtime_checkable
class Residual(Protocol):
    """A block that can start as only its shortcut."""

    def zero_residual(self) -> None:
        """Make the branch beside the shortcut, if there is one, give zeros."""


@runtime_checkable
class Composed(Protocol):
    """A block whose inner layers can be compared one by one."""

    composed_of: tuple[str, ...]
    """Names of those layers, in the order they run."""

    def get_submodule(self, target: str) -> nn.Module:
        """Return one of them, as ``nn.Module`` does."""


@runtime_checkable
class Widening(Protocol):
    """A module whose channels can be padded with zeros, which changes no answer."""

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Take ``in_channels``, of which the last are zeros, and give ``rounded`` many.

        Returns:
            How many channels come out.
        """


Parts = Callable[..., tuple[Part, ...] | None]
"""Takes a network's arguments and returns its layers with a source's names; None if the source has
no such network."""


@dataclass(frozen=True, eq=False)
class Family:
    """What a family's file declares, as ``FAMILY``.

    Attributes:
        build: makes a network: takes the number of classes, then as keywords the arguments in
            ``networks.toml``, ``in_channels``, ``dropout`` and ``drop_path``.
        names: the names of the layers, by source; :data:`fleetnet.models.names.OWN` is one.
        widths: takes the arguments and returns the output channels of enough convolutions, by our
            names, to distinguish the networks of the family without building them.
        input_layer: as in :class:`Network`: its weight's second axis is the images' channels.
        classifier_layer: as in :class:`Network`: its weight's first axis is the classes.
        lookalikes: networks of other projects with the same names and shapes of weights that
            compute something else: the name of the architecture or of a published file, and the
            difference.
    """

    build: Callable[..., Network]
    names: Mapping[Source, Parts]
    widths: Callable[..., Mapping[str, int]]
    input_layer: str
    classifier_layer: str
    lookalikes: Mapping[str, str] = field(default_factory=dict)
