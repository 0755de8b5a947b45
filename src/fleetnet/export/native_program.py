"""Programs in C++ beside converted files: from a photograph to the classes, without Python.

It resizes by the C core, so its answers are those of the host that made the files. What it knows of
the network is written into ``model.h``, from the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files as resources
from importlib.resources.abc import Traversable
from pathlib import Path

from fleetnet.bundle import Manifest
from fleetnet.export.targets.target import Files
from fleetnet.text import quoted

CORE = (
    "CMakeLists.txt",
    "fleetnet_core.c",
    "fleetnet_core.h",
    "geometry.c",
    "geometry.h",
    "resample.c",
    "resample.h",
)
FILTERS = {
    "bilinear": "FLEETNET_BILINEAR",
    "bicubic": "FLEETNET_BICUBIC",
    "cv2-linear": "FLEETNET_CV2_LINEAR",
}
"""The core's names of interpolations."""
_ANSWERS = ("answers.cpp", "answers.h")
_SHARED = ("classify.cpp", "network.h", *_ANSWERS)


def built(where: str) -> str:
    """Return, as Markdown, how the program is built; ``where`` says what has to be in PREFIX."""
    return f"""\
`classify.cpp` is a whole program in C++, with the network in `network.cpp`, what it has to know of
this one in `model.h`, and Fleetnet's resizing in `core/`, which gives the pixels that Python gives,
to the bit. With {where}:

    cmake -S . -B build -D CMAKE_PREFIX_PATH=PREFIX
    cmake --build build
    djpeg photo.jpg > photo.ppm
    build/classify . photo.ppm

It takes upright pictures as binary PPM; `djpeg` is libjpeg-turbo's (Debian's package
`libjpeg-turbo-progs`), and gives the pixels that Python decodes."""


def program(runtime: str) -> Callable[[Files, Manifest], Files]:
    """Return what gives the program's files for a runtime that has a ``.cpp`` and a ``.cmake``."""

    def beside(_files: Files, manifest: Manifest) -> Files:
        source = _sources()
        build = [(source / name).read_bytes() for name in ("CMakeLists.txt", f"{runtime}.cmake")]
        return {
            **{name: (source / name).read_bytes() for name in _SHARED},
            "network.cpp": (source / f"{runtime}.cpp").read_bytes(),
            "CMakeLists.txt": b"\n".join(build),
            **_of_network(manifest),
        }

    return beside


def library(manifest: Manifest) -> dict[str, bytes]:
    """Return the files of what Kotlin calls on Android: the same, but for what reads pictures."""
    source = _sources()
    return {
        **{name: (source / name).read_bytes() for name in ("network.h", *_ANSWERS)},
        "network.cpp": (source / "ncnn.cpp").read_bytes(),
        "android.cpp": (source / "android.cpp").read_bytes(),
        "CMakeLists.txt": (source / "android.cmake").read_bytes(),
        **_of_network(manifest),
    }


def _of_network(manifest: Manifest) -> dict[str, bytes]:
    return {
        "model.h": values(manifest).encode(),
        **{f"core/{name}": content for name, content in core().items()},
    }


def core() -> dict[str, bytes]:
    """Return the files of the C core."""
    packed = _sources() / "core"
    # In a checkout it is where everything that is compiled takes it from.
    there = packed if packed.is_dir() else Path(__file__).parents[3] / "native"
    return {name: (there / name).read_bytes() for name in CORE}


def values(manifest: Manifest) -> str:
    """Return ``model.h``: what a program in C++ has to know of a network."""
    preprocess, model = manifest.preprocess, manifest.model
    batch = manifest.artifacts[0].batch or 1
    names = "".join(f"    {quoted(name)},\n" for name in manifest.classes)
    return f"""\
// What fleetnet.json says of the network, as it was when it was exported.
#pragma once

#include "core/fleetnet_core.h"

namespace model {{

constexpr fleetnet_preprocess preprocess = {{
    {preprocess.resize}, {preprocess.crop}, {FILTERS[preprocess.interpolation]}}};
constexpr int batch = {batch};
constexpr int class_count = {model.num_classes};
constexpr bool sigmoid = {"true" if model.activation == "sigmoid" else "false"}; // else softmax
constexpr double temperature = {manifest.temperature!r};
constexpr const char *classes[] = {{
{names}}};

}} // namespace model
"""


def _sources() -> Traversable:
    return resources("fleetnet.export") / "native_program"
