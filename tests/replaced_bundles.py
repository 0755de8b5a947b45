"""Bundles that are replaced over and over, beside whoever reads them."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from onnx import numpy_helper

from fleetnet.bundle import MANIFEST, Bundle, write_bundle

CONFORMANCE = Path(__file__).parents[1] / "conformance"
PAUSE = 0.01
"""Seconds between two replacements."""


def two_bundles(root: Path) -> tuple[Path, Path]:
    """Make two bundles whose networks and classes differ."""
    network = (CONFORMANCE / "network.onnx").read_bytes()
    manifest = Bundle.load(CONFORMANCE / "network.onnx").manifest
    (record,) = Bundle.load(CONFORMANCE / "network.onnx").artifacts
    model = onnx.load_from_string(network)
    for tensor in model.graph.initializer:
        if tuple(tensor.dims) == (4,):
            values = numpy_helper.to_array(tensor)[::-1] + 3
            tensor.CopyFrom(numpy_helper.from_array(values.copy(), tensor.name))
    other = model.SerializeToString()
    made = []
    for name, content, classes in (("a", network, "abcd"), ("b", other, "wxyz")):
        file = record.files[0].model_copy(
            update={
                "name": "model.onnx",
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
            }
        )
        written = manifest.model_copy(
            update={
                "classes": tuple(classes),
                "artifacts": (record.model_copy(update={"files": (file,)}),),
            }
        )
        write_bundle(root / name, written, {"model.onnx": content})
        made.append(root / name)
    return made[0], made[1]


@contextlib.contextmanager
def repeating(change: Callable[[], None]) -> Iterator[None]:
    """Do something over and over beside what is tested."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            change()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def swap_links(bundles: tuple[Path, Path], place: Path) -> Callable[[], None]:
    """Return what exchanges whole bundles: the name leads to one or to the other."""
    place.symlink_to(bundles[0])
    turn = iter(range(1, 1 << 40))

    def change() -> None:
        link = place.with_name("next")
        link.symlink_to(bundles[next(turn) % 2])
        link.replace(place)
        time.sleep(PAUSE)

    return change


def swap_folders(bundles: tuple[Path, Path], place: Path) -> Callable[[], None]:
    """Return what moves one bundle away and then the other there."""
    away = [place.with_name("0"), place.with_name("1")]
    for folder, bundle in zip(away, bundles, strict=True):
        shutil.copytree(bundle, folder)
    away[0].rename(place)
    turn = iter(range(1 << 40))

    def change() -> None:
        there = next(turn) % 2
        place.rename(away[there])
        away[1 - there].rename(place)
        time.sleep(PAUSE)

    return change


def overwrite(bundles: tuple[Path, Path], place: Path) -> Callable[[], None]:
    """Return what writes one bundle's files over the other's, one after another.

    In between, the folder holds half of each, which is no fault of whoever reads it.
    """
    shutil.copytree(bundles[0], place)
    turn = iter(range(1, 1 << 40))

    def change() -> None:
        bundle = bundles[next(turn) % 2]
        for name in ("model.onnx", MANIFEST):
            shutil.copyfile(bundle / name, place / name)
            time.sleep(PAUSE)

    return change
