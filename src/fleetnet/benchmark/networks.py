"""The networks to measure: trained ones, or networks by name, which are built untrained."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fleetnet.benchmark.macs import count_macs
from fleetnet.bundle import Bundle
from fleetnet.errors import GRAPHS, FleetnetError, ModelError, require_all
from fleetnet.export.cached import bundle_of
from fleetnet.inference.engines import ENGINES, Precision
from fleetnet.models.registry import NAMES, build_model, find_name, published, told_model
from fleetnet.reporting import Say
from fleetnet.weights.settings_file import model_named
from fleetnet.weights.subject import Subject, find_subject

if TYPE_CHECKING:
    from fleetnet.models.network import Structure

SIZES = (32, 1024)
"""Least and greatest side of the input in pixels: 32 is the networks' stride."""


@dataclass(frozen=True)
class BenchmarkedNetwork:
    """A network to measure.

    Attributes:
        name: in the tables; no two are the same.
        bundle: what the engines load.
        model: the registry's name of it.
        trained: whether it has trained weights, not ones made for the measurement.
        macs: multiply-adds of the network for one image; without PyTorch, those of the bundle's
            graph, whose channel counts are padded.
        parameters: trainable ones; None without PyTorch.
    """

    name: str
    bundle: Bundle
    model: str
    trained: bool
    macs: int
    parameters: int | None

    @property
    def size(self) -> int:
        """Side of the input, in pixels."""
        return self.bundle.manifest.preprocess.crop

    def storage(self, engine: str, precision: Precision) -> int:
        """Return the bytes of the files that an engine loads for a precision."""
        loaded = ENGINES[engine].finds(self.bundle, precision)
        return loaded.bytes if loaded else 0


DOCUMENTS = ("mobilenetv2", "rexnet")
"""Those whose networks are measured where none is named."""


def published_names() -> list[str]:
    """Return the names of the networks that these documents have figures for."""
    rows = published()["models"].items()
    return [name for name, row in rows if name in NAMES and row["document"] in DOCUMENTS]


def find_subjects(
    words: Sequence[str],
    size: int = 224,
    done: Callable[[int, int], None] = lambda _done, _total: None,
    say: Say = lambda _: None,
) -> list[BenchmarkedNetwork]:
    """Find the networks that a user names: networks of the registry, and trained ones.

    A name from the registry is built untrained: its speed does not depend on its weights.
    Anything else is a trained network, see :mod:`fleetnet.weights.subject`.

    Args:
        words: in the order of the tables; none for all that the two documents have figures for.
        size: side of the input of networks by name, in pixels; a bundle has its own.
        done: called with how many are ready, and how many there are.
        say: called with a line about each download and each bundle that is made.

    Raises:
        FleetnetError: a word is neither, the size is out of range, or a package that building
            networks needs is not installed.
        BundleError: a bundle is damaged.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise FleetnetError(f"size is {size}; it must be from {SIZES[0]} to {SIZES[1]} pixels")
    chosen = [_resolve(word) for word in dict.fromkeys(words or published_names())]
    chosen = list(dict.fromkeys(chosen))
    made = iter(_build(dict.fromkeys(name for name in chosen if isinstance(name, str)), size))
    subjects: list[BenchmarkedNetwork] = []
    names = _names(chosen)
    for number, (one, name) in enumerate(zip(chosen, names, strict=True)):
        done(number, len(chosen))
        bundle = next(made) if isinstance(one, str) else bundle_of(one, say=say)
        subjects.append(_subject(name, bundle, trained=not isinstance(one, str)))
    done(len(chosen), len(chosen))
    return subjects


def _resolve(word: str) -> str | Subject:
    """Return a network's name as the registry spells it, or the trained network of that word."""
    name = model_named(word)
    try:
        return find_name(name).name
    except ModelError:
        return find_subject(word)


def _names(chosen: Sequence[str | Subject]) -> list[str]:
    """Return a name for each: a bundle's file name, or its path where two share that name."""
    short = [one if isinstance(one, str) else Path(one.word).name or one.word for one in chosen]
    return [
        name if short.count(name) == 1 or isinstance(one, str) else one.word
        for one, name in zip(chosen, short, strict=True)
    ]


def _build(names: Iterable[str], size: int) -> Iterable[Bundle]:
    names = list(names)
    if not names:
        return ()
    require_all(GRAPHS, "export", "measuring a network by its name")
    from fleetnet.benchmark.untrained import untrained_bundles

    return untrained_bundles(names, size)


def _subject(name: str, bundle: Bundle, *, trained: bool) -> BenchmarkedNetwork:
    bundle.file(format="onnx")  # finds a damaged bundle before anything is measured
    model = bundle.manifest.model
    structure = _structure(bundle)
    return BenchmarkedNetwork(
        name=name,
        bundle=bundle,
        model=model.name,
        trained=trained,
        macs=structure.macs if structure else count_macs(bundle),
        parameters=structure.trainable if structure else None,
    )


def _structure(bundle: Bundle) -> Structure | None:
    manifest = bundle.manifest
    try:
        model = told_model(*manifest.network).name
    except ModelError:
        return None
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from fleetnet.models.network import measure_structure

    with torch.device("meta"):
        network = build_model(model, manifest.model.num_classes)
        return measure_structure(network, size=manifest.preprocess.crop)
