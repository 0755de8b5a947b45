"""Networks by name.

Importing this module does not import PyTorch: names can be listed and checked on a machine that
only runs inference.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from fleetnet.errors import ModelError, nearest, needing, require

if TYPE_CHECKING:
    from fleetnet.models.base import Family, Network
    from fleetnet.models.network import Structure

CLASS_LIMIT = 1_000_000


@dataclass(frozen=True)
class ModelEntry:
    """A network that can be built: its family's file and the arguments that make it."""

    name: str
    family: str
    """The module whose ``FAMILY`` builds it: one beside this module, or any by its full name."""
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    size: int = 224
    """Side in pixels of the images that it was designed for."""


@dataclass(frozen=True)
class Named:
    """What a name means.

    Attributes:
        name: in its usual spelling.
        entry: the network.
        weights: the set of published weights, if the name means one; else empty.
    """

    name: str
    entry: ModelEntry
    weights: str = ""


@cache
def _table(file: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("fleetnet.models").joinpath(file).read_text("utf-8"))


def _entries() -> dict[str, ModelEntry]:
    rows = {name: row for name, row in _table("networks.toml").items() if "family" in row}
    return {name: ModelEntry(name=name, **row) for name, row in rows.items()}


MODELS = _entries()
NAMES = {
    name: Named(name, MODELS[row.get("network", name)], row.get("weights", ""))
    for name, row in _table("networks.toml").items()
}
"""All names: those of networks, and those of networks with published weights."""


_DESCRIBED: dict[str, ModelEntry] = {}
"""Networks of settings files, by their names in lower case, in the order they were met."""


def entries() -> tuple[ModelEntry, ...]:
    """Return every network that can be built, those of settings files last."""
    return (*MODELS.values(), *_DESCRIBED.values())


def add_described(values: object, where: str) -> ModelEntry:
    """Make a network known that settings describe, as long as this process lives.

    Its name ends in a hash of them, so that nobody's file can take the name of another network.

    Args:
        values: of a settings file, from outside.
        where: names their origin in errors.

    Raises:
        ModelError: they describe no network.
    """
    from fleetnet.models.narrowing import settings_of

    description = settings_of(values, where)
    entry = ModelEntry(
        description.full_name, "described", {"description": description}, description.size
    )
    _check_built(entry, where)
    known = _DESCRIBED.setdefault(entry.name.casefold(), entry)
    if known != entry:
        raise ModelError(f"{where}: there is another network called '{entry.name}' already")
    return known


def _check_built(entry: ModelEntry, where: str) -> None:
    """Refuse a network that cannot be built, before anything that goes through all meets it.

    Without PyTorch nothing is built, nor does anything go through all.
    """
    try:
        family_of(entry).widths(**entry.arguments)
    except ModuleNotFoundError:
        return
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None


def told_model(name: str, description: object) -> ModelEntry:
    """Return the network that a checkpoint or a bundle names, and describes if it is no known one.

    Args:
        name: from the file.
        description: the settings of the network from the same file; None if it has none.

    Raises:
        ModelError: there is no such network, or it is not the one that is described.
    """
    if description is None:
        return find_model(name)
    entry = add_described(description, "the description of its network")
    if entry.name.casefold() != name.casefold():
        raise ModelError(f"it names the network {name[:80]!r}, but describes '{entry.name}'")
    return entry


def is_described(entry: ModelEntry) -> bool:
    """Tell whether settings describe a network, which no name alone means."""
    return "description" in entry.arguments


def description_of(name: str) -> dict[str, Any] | None:
    """Return the settings that describe a network, as JSON values; None if none do.

    Raises:
        ModelError: there is no network of this name.
    """
    description = find_model(name).arguments.get("description")
    return None if description is None else dict(description.to_values())


def register(entry: ModelEntry) -> None:
    """Add a network, such as one of a family of your own.

    Raises:
        ModelError: there is already one of that name.
    """
    if entry.name.casefold() in map(str.casefold, NAMES):
        raise ModelError(f"there is a network called '{entry.name}' already")
    MODELS[entry.name] = entry
    NAMES[entry.name] = Named(entry.name, entry)


def find_name(name: str) -> Named:
    """Return what ``name`` means, without regard to case.

    Raises:
        ModelError: the name means nothing; the message has the nearest name.
    """
    folded = name.casefold()
    if described := _DESCRIBED.get(folded):
        return Named(described.name, described)
    for known, named in NAMES.items():
        if known.casefold() == folded:
            return named
    raise ModelError(
        f"unknown model '{name}'{nearest(name, NAMES)} ('fleetnet models' lists them all)"
    )


def find_model(name: str) -> ModelEntry:
    """Return the entry of the network called ``name``, without regard to case.

    Raises:
        ModelError: there is none; the message has the nearest name.
    """
    return find_name(name).entry


def family_of(entry: ModelEntry) -> Family:
    """Return the family of a network; this imports PyTorch."""
    name = entry.family if "." in entry.family else f"fleetnet.models.{entry.family}"
    family: Family = importlib.import_module(name).FAMILY
    return family


def build_model(name: str, num_classes: int = 1000, **arguments: Any) -> Network:
    """Build the network called ``name``, freshly initialised.

    Args:
        name: as in ``fleetnet models``, without regard to case.
        num_classes: length of the logits.
        arguments: ``in_channels``, ``dropout``, ``drop_path`` (see
            :class:`fleetnet.models.network.MobileNetwork`).

    Returns:
        A plain ``torch.nn.Module`` that takes normalised ``float32[N, in_channels, H, W]`` and
        gives ``float32[N, num_classes]``.

    Raises:
        ModelError: unknown name or argument, or a class count that no network has.
    """
    entry = find_model(name)
    if not 1 <= num_classes <= CLASS_LIMIT:
        raise ModelError(f"num_classes is {num_classes}; it must be between 1 and {CLASS_LIMIT:,}")
    _check_arguments(arguments)
    with needing(("torch",), "train", "building a network"):
        family = family_of(entry)
    return family.build(num_classes, **entry.arguments, **arguments)


def _check_arguments(arguments: dict[str, Any]) -> None:
    known = ("in_channels", "dropout", "drop_path")
    for key, value in arguments.items():
        if key not in known:
            raise ModelError(
                f"unknown model argument '{key}'{nearest(key, known)} (known: {', '.join(known)})"
            )
        if key == "in_channels" and not (isinstance(value, int) and 1 <= value <= 1024):
            raise ModelError(f"in_channels is {value!r}; it must be a whole number from 1 to 1024")
        if key != "in_channels" and not 0.0 <= value < 1.0:
            raise ModelError(f"{key} is {value!r}; it must be at least 0 and below 1")


def published() -> dict[str, Any]:
    """Return ``published.toml``: the documents' figures as printed there, and their sources."""
    return _table("published.toml")


def structure(name: str, size: int | None = None) -> Structure:
    """Count parameters and multiply-adds of ``name`` with 1000 classes.

    Args:
        name: of the network.
        size: side of the images in pixels; None for that which it was designed for.

    Raises:
        ModelError: unknown name.
        FleetnetError: PyTorch is not installed.
    """
    entry = find_model(name)
    try:
        import torch
    except ModuleNotFoundError:
        raise require("PyTorch", "train", "counting a network's parameters") from None
    from fleetnet.models.network import measure_structure

    # Initialising on "meta" takes four times as long as drawing the numbers.
    return measure_structure(build_model(name).to(torch.device("meta")), size=size or entry.size)
