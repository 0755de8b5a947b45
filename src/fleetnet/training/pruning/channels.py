"""Taking the least important channels out of a trained network.

Only channels inside the blocks and of the head are taken: those between blocks are shared by all
that a shortcut joins, and most multiply-adds are inside. What is left is a network like any other,
described by :class:`fleetnet.models.narrowing.Narrowing`.
"""

from __future__ import annotations

import bisect
import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetnet.errors import ModelError, needing
from fleetnet.models.described import chain_setting
from fleetnet.models.network import (
    MobileNetwork,
    Structure,
    measure_positions,
    measure_structure,
)
from fleetnet.models.registry import ModelEntry, add_described, build_model
from fleetnet.models.widths import narrowable, narrowing_of
from fleetnet.training.pruning import Importance
from fleetnet.weights.state import load_state

MULTIPLE = 8
"""Numbers of channels are multiples of this where they can be, as vectors of processors are."""
LEAST_OF_A_LAYER = 0.1
"""So much of every layer stays: one without any channel would cut the network in two."""


@dataclass(frozen=True)
class Pruned:
    """What is left of a network.

    Attributes:
        entry: the narrower network.
        state: its weights.
        before: size of the wide one, at the side of its own images.
        after: size of the narrow one.
    """

    entry: ModelEntry
    state: dict[str, Tensor]
    before: Structure
    after: Structure


class _Layer(NamedTuple):
    """A layer whose outputs may go."""

    convolution: nn.Conv2d
    scores: npt.NDArray[np.float64]
    """How important each of its outputs is."""

    def kept(self, threshold: float) -> int:
        """Return how many outputs stay if those up to a threshold go."""
        return _rounded(int((self.scores > threshold).sum()), len(self.scores))


def _rounded(kept: int, channels: int) -> int:
    """Return how many of a layer's outputs stay if so many are to be kept."""
    least = max(kept, math.ceil(channels * LEAST_OF_A_LAYER), 1)
    return min(-(-least // MULTIPLE) * MULTIPLE, channels)


def check_share(network: MobileNetwork, entry: ModelEntry, size: int, macs: float) -> None:
    """Refuse a share of the multiply-adds that is less than what always stays.

    Args:
        network: the wide one.
        entry: what it is.
        size: side in pixels of the images that multiply-adds are counted for.
        macs: the share to keep, above 0 and below 1.

    Raises:
        ModelError: it is no chain of inverted residuals, or cannot become that narrow.
    """
    chain_setting(entry)  # which refuses anything else
    layers = list(narrowable(network))
    kept = [_rounded(0, layer.out_channels) for layer in layers]
    fewest = sum(cost.macs(kept) for cost in _costs(network, layers, size))
    share = fewest / measure_structure(network, size=size).macs
    if share > macs:
        raise ModelError(
            f"a tenth of every layer inside the blocks of {entry.name} stays, and all that lies "
            f"between them: that is {math.ceil(share * 100)}% of its multiply-adds; keep more, or "
            "begin with a narrower network",
            arguments=["macs"],
        )


def prune(
    network: MobileNetwork, entry: ModelEntry, size: int, macs: float, importance: Importance
) -> Pruned:
    """Take the least important channels away until a share of the multiply-adds is left.

    Channels of all layers compete with each other, so that each layer loses what it needs least.

    Args:
        network: trained; for ``taylor`` with gradients, see
            :func:`fleetnet.training.pruning.run.add_gradients`. It is changed.
        entry: what it is.
        size: side in pixels of the images that multiply-adds are counted for.
        macs: the share to keep, above 0 and below 1.
        importance: how channels are ranked.

    Returns:
        The widest network in that order whose multiply-adds are not above the share.

    Raises:
        ModelError: it is no chain of inverted residuals, or cannot become that narrow.
        FleetnetError: torch-pruning is not installed.
    """
    check_share(network, entry, size, macs)
    with needing(("torch_pruning",), "train", "pruning"):
        import torch_pruning
    before = measure_structure(network, size=size)
    with _quiet():
        graph = torch_pruning.DependencyGraph()
        graph.build_dependency(network, torch.zeros(1, 3, size, size))
        layers = _layers(network, graph, importance)

    costs = _costs(network, [layer.convolution for layer in layers], size)

    def counted(threshold: float) -> int:
        kept = [layer.kept(threshold) for layer in layers]
        return sum(cost.macs(kept) for cost in costs)

    threshold = _threshold(layers, counted, macs * before.macs)
    with _quiet():
        for layer in layers:
            going = np.argsort(layer.scores, kind="stable")[: -layer.kept(threshold)]
            if len(going):
                take = torch_pruning.prune_conv_out_channels
                graph.get_pruning_group(layer.convolution, take, sorted(going.tolist())).prune()
    return _described(network, entry, size, before)


def _threshold(layers: Sequence[_Layer], counted: Callable[[float], int], wanted: float) -> float:
    """Return the least threshold that leaves no more multiply-adds than wanted."""
    values = np.unique(np.concatenate([layer.scores for layer in layers]))
    found = bisect.bisect_left(values, True, key=lambda value: counted(float(value)) <= wanted)
    return float(values[found])


def _layers(network: MobileNetwork, graph: Any, importance: Importance) -> list[_Layer]:
    """Return the layers whose outputs may go, with their scores."""
    from torch_pruning import prune_conv_out_channels

    measure = _measure(importance)
    found = []
    for convolution in narrowable(network):
        channels = list(range(convolution.out_channels))
        group = graph.get_pruning_group(convolution, prune_conv_out_channels, channels)
        found.append(_Layer(convolution, measure(group).double().numpy()))
    return found


class _Cost(NamedTuple):
    """What a layer computes, by how many outputs of which layers stay."""

    each: int
    """Multiply-adds for an output and an input, as far as these change."""
    changes: tuple[int, ...]
    """Places of the layers whose numbers of outputs it is multiplied by."""

    def macs(self, kept: Sequence[int]) -> int:
        return math.prod((kept[place] for place in self.changes), start=self.each)


def _costs(network: MobileNetwork, layers: Sequence[nn.Conv2d], size: int) -> list[_Cost]:
    """Return the costs of all layers of a network, of which some lose outputs."""
    places = {layer: place for place, layer in enumerate(layers)}
    changes: dict[nn.Module, list[int]] = {}
    for convolution, changed in narrowable(network).items():
        for module in changed:
            changes.setdefault(module, []).append(places[convolution])
    found = []
    for layer, positions in measure_positions(network, size=size).items():
        factors = tuple(changes.get(layer, ()))
        width = math.prod(layers[place].out_channels for place in factors)
        found.append(_Cost(layer.weight.numel() * positions // width, factors))
    return found


def _measure(importance: Importance) -> Any:
    from torch_pruning.pruner import importance as measures

    if importance == "taylor":
        # Without a normaliser, so that layers can be compared: all are changes of one loss.
        return measures.GroupTaylorImportance(normalizer=None)
    if importance == "magnitude":
        return measures.GroupMagnitudeImportance(p=2)
    return measures.RandomImportance()


def _described(network: MobileNetwork, entry: ModelEntry, size: int, before: Structure) -> Pruned:
    """Write down how wide a network is, and build it from that, so that both are the same."""
    after = measure_structure(network, size=size)
    described = narrowing_of(network, entry, f"{after.macs / 1e6:.0f}M")
    narrow = add_described(described.to_values(), "the pruned network")
    state = {key: value.detach().clone() for key, value in network.state_dict().items()}
    load_state(build_model(narrow.name, network.num_classes), state, "the pruned network")
    return Pruned(narrow, state, before, after)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's warnings of parameters that belong to no layer off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
