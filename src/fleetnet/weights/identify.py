"""Recognising the network and the layout of a state dict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fleetnet.errors import CheckpointError
from fleetnet.models.names import Kind
from fleetnet.models.registry import ModelEntry, build_model, entries, family_of
from fleetnet.weights.adapter import COUNTER, Adapter, adapters
from fleetnet.weights.pickles import shown
from fleetnet.weights.state import some


@dataclass(frozen=True)
class Identity:
    """The network and layout of a state dict.

    Attributes:
        entry: the network it fits.
        adapter: the source whose names it uses.
        num_classes: length of its classifier.
        in_channels: channels of its images.
    """

    entry: ModelEntry
    adapter: Adapter
    num_classes: int
    in_channels: int


@dataclass(frozen=True, eq=False)
class Layout:
    """A network with one source's names.

    Attributes:
        adapter: the source.
        entry: the network.
        layers: their names of its layers, by our names.
    """

    adapter: Adapter
    entry: ModelEntry
    layers: Mapping[str, str]

    @cached_property
    def theirs(self) -> frozenset[str]:
        """Their names of all layers."""
        return frozenset(self.layers.values())

    @cached_property
    def widths(self) -> dict[str, int]:
        """How many channels some convolutions have, by their names there.

        All widths of a network have the same layers; this distinguishes them without building any.
        """
        widths = family_of(self.entry).widths(**self.entry.arguments)
        return {f"{self.layers[layer]}.weight": width for layer, width in widths.items()}

    @property
    def input_key(self) -> str:
        """Their name of the weight whose second axis is the images' channels."""
        return f"{self.layers[family_of(self.entry).input_layer]}.weight"

    @property
    def classifier_key(self) -> str:
        """Their name of the bias with one entry for each class."""
        return f"{self.layers[family_of(self.entry).classifier_layer]}.bias"

    @staticmethod
    def of(identity: Identity) -> Layout:
        """Return the layout that something was identified as."""
        return next(
            layout
            for layout in layouts()
            if (layout.entry, layout.adapter) == (identity.entry, identity.adapter)
        )

    def keys(self) -> dict[str, tuple[str, Kind]]:
        """Return for every one of our keys their key and the kind of tensor."""
        return self.adapter.keys(self.entry, template(self.entry.name))


def layouts(first: Sequence[ModelEntry] = ()) -> tuple[Layout, ...]:
    """Return every network with the names of every source, ours first.

    Args:
        first: networks that come before others of the same names and shapes.
    """
    return _layouts(tuple(dict.fromkeys((*first, *entries()))))


@lru_cache(maxsize=8)  # networks of settings files make new ones
def _layouts(networks: tuple[ModelEntry, ...]) -> tuple[Layout, ...]:
    return tuple(
        Layout(adapter, entry, {part.ours: part.theirs for part in parts})
        for adapter in adapters().values()
        for entry in networks
        if (parts := adapter.parts(entry)) is not None
    )


class _WithoutValues(TorchFunctionMode):
    """Does not initialise new tensors, which have no memory here.

    Otherwise PyTorch would load its compiler, which takes seconds, to draw random numbers for them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _FILLERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


_FILLERS = (Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_)


@cache
def template(name: str) -> dict[str, Tensor]:
    """Return a network's state dict with 1000 classes, without memory and without counters."""
    with torch.device("meta"), _WithoutValues():
        state = build_model(name).state_dict()
    return {key: value for key, value in state.items() if not key.endswith(COUNTER)}


def match(
    state: Mapping[str, Tensor],
    stray: Callable[[str, Layout], bool] = lambda *_: False,
    first: Sequence[ModelEntry] = (),
) -> Identity | None:
    """Tell which network and layout ``state`` fits, or None.

    Args:
        state: tensors by name.
        stray: tells whether an entry that a layout lacks is no part of a network.
        first: as in :func:`layouts`.
    """
    given = _names(state)
    layers = _layers(given)
    for layout in layouts(first):
        # Names and a few widths rule out nearly all, so few templates are built.
        if layout.theirs <= layers and _has_widths(state, layout):
            own = {key for key in given if _layer(key) in layout.theirs or not stray(key, layout)}
            if complaint(state, own, layout) is None:
                return _identity(state, layout)
    return None


def nearest(
    state: Mapping[str, Tensor], part: Callable[[str], str] = str
) -> tuple[int, str] | None:
    """Return how much ``state`` differs from the nearest network, as a number and in words.

    None if it has no layer of any network here.

    Args:
        state: tensors by name.
        part: the part of layers' names that is compared; empty for none.
    """
    given = _names(state)
    layers = {part(layer) for layer in _layers(given)} - {""}
    distances: dict[Layout, int] = {}
    for layout in layouts():
        theirs = {part(layer) for layer in layout.theirs} - {""}
        if layers & theirs:
            distances[layout] = len(layers ^ theirs)
    least = min(distances.values(), default=0)
    complaints = [
        (*wrong, layout)
        for layout, distance in distances.items()
        if distance == least and (wrong := complaint(state, given, layout))
    ]
    if not complaints:
        return None
    count, text, layout = min(complaints, key=itemgetter(0))
    return count, f"nearest is {layout.entry.name} from {layout.adapter.name}: {text}"


def last_word(layer: str) -> str:
    """Return the last step of a layer's name that is no number: ``bn1`` of ``layer1.0.bn1``."""
    return next((step for step in reversed(layer.split(".")) if not step.isdecimal()), "")


def unfit(state: Mapping[str, Tensor], near: tuple[int, str] | None) -> str:
    """Return the end of a message about a state dict that fits nothing: what is in it."""
    names = [shown(name) for name in state]
    said = near[1] if near else "its names are like those of none ('fleetnet models' lists all)"
    return f" ({len(names)} entries: {some(names, 4)}); {said}"


def _names(state: Mapping[str, Tensor]) -> set[str]:
    return {key for key in state if not key.endswith(COUNTER)}


def _layers(keys: Iterable[str]) -> set[str]:
    return {_layer(key) for key in keys}


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


def _has_widths(state: Mapping[str, Tensor], layout: Layout) -> bool:
    return all(
        key in state and state[key].shape[:1] == (width,) for key, width in layout.widths.items()
    )


def complaint(
    state: Mapping[str, Tensor], given: set[str], layout: Layout
) -> tuple[int, str] | None:
    """Return how many of the entries ``given`` of ``state`` are wrong, and which; None if none."""
    keys = layout.keys()
    theirs = {key for key, _ in keys.values()}
    missing = sorted(theirs - given)
    unexpected = sorted(given - theirs)
    misshapen: list[str] = []
    for ours, (key, kind) in keys.items():
        if key in given:
            expected = layout.adapter.to_theirs(template(layout.entry.name)[ours], kind).shape
            shape = state[key].shape
            if not _fits(ours, tuple(shape), tuple(expected), layout):
                misshapen.append(f"{key} is {tuple(shape)}, not {tuple(expected)}")
    wrong = len(missing) + len(unexpected) + len(misshapen)
    if not wrong:
        return None
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen))
    text = "; ".join(
        f"{name}: {some([shown(entry) for entry in entries])}" for name, entries in kinds if entries
    )
    return wrong, text


def _fits(ours: str, shape: tuple[int, ...], expected: tuple[int, ...], layout: Layout) -> bool:
    """Compare shapes, except for the numbers of classes and of the images' channels."""
    if len(shape) != len(expected):
        return False
    family, source = family_of(layout.entry), layout.adapter.source
    free: set[int] = set()
    if ours.startswith(f"{family.classifier_layer}."):
        free = {1 if source.transposes_linear and len(shape) == 2 else 0}
    elif ours == f"{family.input_layer}.weight":
        free = {1}
    return all(
        side == wanted or (axis in free and side > 0)
        for axis, (side, wanted) in enumerate(zip(shape, expected, strict=True))
    )


def _identity(state: Mapping[str, Tensor], layout: Layout) -> Identity:
    classes = state[layout.classifier_key].shape[0]
    channels = state[layout.input_key].shape[1]
    return Identity(layout.entry, layout.adapter, int(classes), int(channels))


def to_ours(state: Mapping[str, Tensor], identity: Identity) -> dict[str, Tensor]:
    """Return the weights with our names and shapes, in fp32, without counters."""
    keys = identity.adapter.keys(identity.entry, template(identity.entry.name))
    return {
        ours: identity.adapter.to_ours(state[key], kind).float().contiguous()
        for ours, (key, kind) in keys.items()
    }


def from_ours(
    state: Mapping[str, Tensor], entry: ModelEntry, adapter: Adapter
) -> dict[str, Tensor]:
    """Return our weights with a source's names and shapes.

    Raises:
        CheckpointError: the source does not have this network.
    """
    try:
        keys = adapter.keys(entry, template(entry.name))
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    return {
        key: adapter.to_theirs(state[ours], kind).contiguous() for ours, (key, kind) in keys.items()
    }
