"""C++: a bundle, and beside it the smallest program that answers with it, without Python."""

from __future__ import annotations

from importlib.resources import files as resources

from fleetnet.bundle import Bundle, Manifest
from fleetnet.export.targets.target import Files, Run, Target, any_batch
from fleetnet.inference.engines import Setup
from fleetnet.inference.engines.openvino import OpenVinoEngine

_PROGRAM = ("CMakeLists.txt", "classify.cpp")
_HOW = """\
`classify.cpp` is a whole program with the C++ predictor, which decodes, resizes and crops by
itself. Build it once the predictor is installed in a folder PREFIX (`cpp/` in Fleetnet's
repository, docs/cpp.md):

    cmake -S . -B build -D CMAKE_PREFIX_PATH=PREFIX
    cmake --build build
    pip install openvino
    export LD_LIBRARY_PATH=$(python -c 'import openvino; print(openvino.__path__[0] + "/libs")')
    build/classify . photo.jpg

OpenVINO's libraries have to be where the system looks for libraries, or beside the predictor's, or
where `LD_LIBRARY_PATH` says, as here: `pip install openvino` brings them.
`fleetnet.h` in PREFIX says what else a program can ask for."""


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Take the graph as it is; the predictor fixes the batch for itself.

    Raises:
        FleetnetError: one size of batch was asked for.
    """
    any_batch(batch, "the C++ predictor takes any batch")
    return {"model.onnx": bundle.content(format="onnx").data}


def load(files: Files) -> Run:
    """Open the graph in OpenVINO, which the predictor computes with."""
    return OpenVinoEngine.of_onnx(files["model.onnx"], Setup()).run


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the graph with its layers as its output."""
    from fleetnet.export.tapped_graph import tapped

    return load({"model.onnx": tapped(files["model.onnx"])})


def program(_files: Files, _manifest: Manifest) -> Files:
    """Return the program's source, and the file by which CMake builds it."""
    folder = resources("fleetnet.export") / "cpp_program"
    return {name: (folder / name).read_bytes() for name in _PROGRAM}


TARGET = Target(
    name="cpp",
    title="C++",
    format="onnx",
    precisions=("fp32",),
    package="openvino",
    command="build/classify . photo.jpg",
    convert=convert,
    load=load,
    layers=layers,
    needs={"openvino": "fleetnet"},
    beside=program,
    how=_HOW,
    rejects=True,
)
