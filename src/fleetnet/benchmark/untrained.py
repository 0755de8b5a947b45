"""Untrained networks to time.

How long a network takes depends only on its shapes, with one exception: subnormal numbers and zeros
are computed at another speed. A freshly initialised network has many of both, because nothing keeps
its activations in range. So batch norm gets the statistics of real activations here, as in
training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata, resources
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

import fleetnet
from fleetnet.bundle import (
    Artifact,
    Bundle,
    Manifest,
    ModelInfo,
    self_test_pixels,
    write_bundle,
)
from fleetnet.cache import cache_folder
from fleetnet.errors import GRAPHS, BundleError, OvertakenError
from fleetnet.export.onnx import graph_input, graph_outputs, to_onnx
from fleetnet.files import standing
from fleetnet.inference.engines import available_threads
from fleetnet.labels import imagenet_classes
from fleetnet.models.normalisation import Normalisation
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess

CLASSES = 1000
_STATISTICS_SIDE = 96
_STATISTICS_IMAGES = 4
_SOURCES = ("models", "export/onnx.py", "benchmark/untrained.py")


def untrained_bundles(names: Sequence[str], size: int) -> Iterator[Bundle]:
    """Yield a bundle for each network, of ``size``×``size`` pixels and ImageNet's classes.

    Those that the cache lacks are exported first, several at once; each takes some ten seconds.
    Bundles from the cache are used only if this code and PyTorch would make the same again.

    Args:
        names: of networks as the registry spells them.
        size: of the input, in pixels.

    Raises:
        FleetnetError: the cache cannot be written to.
    """
    missing = [name for name in names if _cached(name, size) is None]
    if len(missing) < 2 or available_threads() < 2:
        for name in names:
            yield _cached(name, size) or make_untrained(name, size, cached_folder(name, size))
        return
    # In processes of their own, because exporting is Python's work, which one process does singly.
    with ProcessPoolExecutor(
        min(available_threads(), len(missing), 4), get_context("spawn")
    ) as pool:
        made = {
            name: pool.submit(_make_in_cache, name, size)
            # Large ones first, so that none is left over for the end.
            for name in reversed(missing)
        }
        for name in names:
            if name in made:
                made[name].result()
            yield _cached(name, size) or make_untrained(name, size, cached_folder(name, size))


def make_untrained(name: str, size: int, folder: Path) -> Bundle:
    """Build the network called ``name``, export it and write it as a bundle to ``folder``.

    If another process has put one there in the meantime, that one is returned.
    """
    replacing = standing(folder)
    network = untrained_network(name)
    preprocess = Preprocess(resize=max(size, round(size * 256 / 224)), crop=size)
    manifest = Manifest(
        model=ModelInfo(name=name, num_classes=CLASSES),
        classes=tuple(entry.name for entry in imagenet_classes()),
        preprocess=preprocess,
        input=graph_input(size),
        outputs=graph_outputs(CLASSES),
        provenance={"fleetnet": fleetnet.__version__, "untrained": True},
    )
    graph = to_onnx(network, preprocess, manifest)
    weights = save({key: value.contiguous() for key, value in network.state_dict().items()})
    artifacts = (
        Artifact.of("onnx", {"model.onnx": graph}),
        Artifact.of("safetensors", {"model.safetensors": weights}),
    )
    files = {"model.onnx": graph, "model.safetensors": weights}
    manifest = manifest.model_copy(update={"artifacts": artifacts})
    try:
        return write_bundle(folder, manifest, files, replacing)
    except OvertakenError:
        return Bundle.load(folder)


def untrained_network(name: str) -> nn.Module:
    """Build a network in evaluation mode whose activations stay in range, as a trained one's do.

    Batch norm's scales and shifts are random; its statistics are measured on random images.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_model(name, CLASSES)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            norm.momentum = None  # the average over all batches, not a running one
        normalise = Normalisation(*Preprocess().normalisation())
        pixels = torch.from_numpy(self_test_pixels(_STATISTICS_IMAGES, _STATISTICS_SIDE))
        with torch.no_grad():
            network.train()(normalise(pixels))
    return network.eval()


def cached_folder(name: str, size: int) -> Path:
    """Return the folder in the cache for a network's bundle."""
    return cache_folder() / "benchmark" / f"{name}-{size}-{_fingerprint()}"


def _make_in_cache(name: str, size: int) -> None:
    """Fill the cache from a process of its own."""
    torch.set_num_threads(1)
    make_untrained(name, size, cached_folder(name, size))


def _cached(name: str, size: int) -> Bundle | None:
    try:
        bundle = Bundle.load(cached_folder(name, size))
        for artifact in bundle.artifacts:
            bundle.files_of(artifact)  # checks the hashes
    except BundleError:
        return None
    return bundle


def _fingerprint() -> str:
    """Return a digest of everything that the bundles' content depends on."""
    digest = hashlib.sha256()
    for package in GRAPHS:
        digest.update(metadata.version(package).encode())
    for source in _SOURCES:
        place = Path(str(resources.files("fleetnet") / source))
        files = [file for kind in ("*.py", "*.toml") for file in sorted(place.rglob(kind))]
        for file in files if place.is_dir() else [place]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
