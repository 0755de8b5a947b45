"""Which network and whose layout a state dict fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fleetnet.errors import CheckpointError
from fleetnet.models.registry import MODELS, ModelEntry, build_model
from fleetnet.weights import clovaai, paddle, timm, torchvision
from fleetnet.weights.adapter import COUNTER, Adapter, Kind, Part
from fleetnet.weights.state import some

ADAPTERS = (paddle.ADAPTER, timm.ADAPTER, torchvision.ADAPTER, clovaai.ADAPTER)


def _own_parts(entry: ModelEntry) -> tuple[Part, ...]:
    parts: list[Part] = []
    for key in template(entry.name):
        layer = key.rpartition(".")[0]
        kind: Kind = "norm" if layer.endswith("norm") else "conv"
        part = Part(layer, layer, kind)
        if part not in parts:
            parts.append(part)
    return tuple(parts)


OWN = Adapter("Fleetnet", _own_parts, norm_leaves={})


@dataclass(frozen=True)
class Identity:
    """What a state dict is.

    Attributes:
        entry: the network it fits.
        adapter: whose names it uses.
        num_classes: length of its classifier.
        in_channels: channels of its images.
        also: other networks that it fits as well, such as ``MobileNetV2_ssld``.
    """

    entry: ModelEntry
    adapter: Adapter
    num_classes: int
    in_channels: int
    also: tuple[str, ...] = ()


@cache
def template(name: str) -> dict[str, Tensor]:
    """Return a network's state dict with 1000 classes, without memory and without counters."""
    with torch.device("meta"):
        state = build_model(name).state_dict()
    return {key: value for key, value in state.items() if not key.endswith(COUNTER)}


def identify(state: Mapping[str, Tensor], where: str) -> Identity:
    """Tell which network and layout ``state`` fits, whatever its number of classes.

    Raises:
        CheckpointError: none; the message lists what the nearest lacks, has too much, or has in
            another shape, at most ten of each.
    """
    given = {key for key in state if not key.endswith(COUNTER)}
    found: list[Identity] = []
    nearest: tuple[int, str] | None = None
    for adapter in (OWN, *ADAPTERS):
        for entry in MODELS.values():
            if adapter.parts(entry) is None:
                continue
            keys = adapter.keys(entry, template(entry.name))
            theirs = {key for key, _ in keys.values()}
            common = len(theirs & given)
            if common == 0:
                continue
            complaint = _complaint(state, given, keys, entry, adapter)
            if complaint is None:
                found.append(_identity(state, keys, entry, adapter))
                continue
            wrong, text = complaint
            if nearest is None or wrong < nearest[0]:
                nearest = (wrong, f"nearest is {entry.name} from {adapter.name}: {text}")
    if found:
        names = tuple(identity.entry.name for identity in found[1:])
        first = found[0]
        return Identity(first.entry, first.adapter, first.num_classes, first.in_channels, names)
    if nearest is None:
        raise CheckpointError(f"{where} holds weights of no network known here")
    raise CheckpointError(f"{where} fits no network known here; {nearest[1]}")


def _complaint(
    state: Mapping[str, Tensor],
    given: set[str],
    keys: Mapping[str, tuple[str, Kind]],
    entry: ModelEntry,
    adapter: Adapter,
) -> tuple[int, str] | None:
    theirs = {key for key, _ in keys.values()}
    missing = sorted(theirs - given)
    unexpected = sorted(given - theirs)
    misshapen: list[str] = []
    for ours, (key, kind) in keys.items():
        if key in given:
            expected = adapter.to_theirs(template(entry.name)[ours], kind).shape
            shape = state[key].shape
            if not _fits(ours, tuple(shape), tuple(expected), adapter):
                misshapen.append(f"{key} is {tuple(shape)}, not {tuple(expected)}")
    wrong = len(missing) + len(unexpected) + len(misshapen)
    if not wrong:
        return None
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen))
    return wrong, "; ".join(f"{name}: {some(entries)}" for name, entries in kinds if entries)


def _fits(ours: str, shape: tuple[int, ...], expected: tuple[int, ...], adapter: Adapter) -> bool:
    """Compare shapes, leaving free the number of classes and of the images' channels."""
    if len(shape) != len(expected):
        return False
    free: set[int] = set()
    if ours.startswith("classifier."):
        free = {1 if adapter.transposes_linear and len(shape) == 2 else 0}
    elif ours == "stem.conv.weight":
        free = {1}
    return all(
        side == wanted or (axis in free and side > 0)
        for axis, (side, wanted) in enumerate(zip(shape, expected, strict=True))
    )


def _identity(
    state: Mapping[str, Tensor],
    keys: Mapping[str, tuple[str, Kind]],
    entry: ModelEntry,
    adapter: Adapter,
) -> Identity:
    classes = state[keys["classifier.bias"][0]].shape[0]
    channels = state[keys["stem.conv.weight"][0]].shape[1]
    return Identity(entry, adapter, int(classes), int(channels))


def to_ours(state: Mapping[str, Tensor], identity: Identity) -> dict[str, Tensor]:
    """Return the weights under our names and in our shapes, in fp32, without counters."""
    keys = identity.adapter.keys(identity.entry, template(identity.entry.name))
    return {
        ours: identity.adapter.to_ours(state[key], kind).float().contiguous()
        for ours, (key, kind) in keys.items()
    }


def from_ours(
    state: Mapping[str, Tensor], entry: ModelEntry, adapter: Adapter
) -> dict[str, Tensor]:
    """Return our weights under somebody's names and in their shapes.

    Raises:
        CheckpointError: they do not have this network.
    """
    try:
        keys = adapter.keys(entry, template(entry.name))
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    return {
        key: adapter.to_theirs(state[ours], kind).contiguous() for ours, (key, kind) in keys.items()
    }
