"""Published sets of weights: what there is; fetching them is :mod:`fleetnet.weights.hub`'s.

Importing this needs neither PyTorch nor what fetches, so that a name can be understood on a machine
that only runs inference.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fleetnet.errors import FleetnetError, nearest
from fleetnet.files import cache_folder
from fleetnet.models.registry import find_model
from fleetnet.preprocess import Preprocess


@dataclass(frozen=True)
class PublishedWeights:
    """One published file of weights.

    Attributes:
        set: what users call the source: ``paddle``, ``timm``, ``torchvision-v1`` or ``-v2``.
        model: the network here that it is for.
        url: where it is.
        file: its name in the cache.
        preprocess: how the publisher prepares images.
        top1: as the publisher states it, on ImageNet-1k, as a fraction.
        top5: likewise.
        licence: of the weights.
        source: where the figures are from.
        sha256: of the file, or its first digits, or empty where unknown.
    """

    set: str
    model: str
    url: str
    file: str
    preprocess: Preprocess
    top1: float
    top5: float
    licence: str
    source: str
    sha256: str = ""


@cache
def published_weights() -> tuple[PublishedWeights, ...]:
    """Return every published set that is known here."""
    return tuple(
        PublishedWeights(
            **{
                "file": entry["url"].rpartition("/")[2],
                **entry,
                "preprocess": preprocess_of(entry["preprocess"]),
            }
        )
        for entry in _published()["weights"]
    )


def preprocess_of(name: str) -> Preprocess:
    """Return how a publisher prepares images, by its name in ``published.toml``."""
    return Preprocess(**_published()["preprocess"][name])


@cache
def _published() -> dict[str, Any]:
    text = resources.files("fleetnet.weights").joinpath("published.toml").read_text("utf-8")
    return tomllib.loads(text)


def set_names() -> list[str]:
    """Return the names of the sets, sorted."""
    return sorted({entry.set for entry in published_weights()})


def weights_of(model: str) -> tuple[PublishedWeights, ...]:
    """Return the published weights of the network called ``model``, the usual set first.

    Raises:
        ModelError: there is no such network.
    """
    name = find_model(model).name
    return tuple(entry for entry in published_weights() if entry.model == name)


def find_weights(set_name: str, model: str) -> PublishedWeights:
    """Return the published weights of a set for a network.

    Raises:
        FleetnetError: there is no such set, or it has none for this network.
    """
    name = find_model(model).name
    sets = set_names()
    if set_name not in sets:
        raise FleetnetError(
            f"unknown set of weights '{set_name}'{nearest(set_name, sets)} (known: "
            f"{', '.join(sets)}, or the path of a file)"
        )
    of_model = weights_of(name)
    for entry in of_model:
        if entry.set == set_name:
            return entry
    has = ", ".join(entry.set for entry in of_model) or "none"
    raise FleetnetError(f"'{set_name}' has no weights for {name} (sets that have: {has})")


def published_file(name: str) -> PublishedWeights | None:
    """Return the published weights whose file is called ``name``."""
    return {entry.file: entry for entry in published_weights()}.get(name)


def cached_path(entry: PublishedWeights) -> Path:
    """Return where the file of ``entry`` is once it is fetched."""
    return cache_folder() / "weights" / entry.set / entry.file
