"""LiteRT for microcontrollers: int8 alone, in memory whose size is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.micro_program import FACTS, program
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets import litert
from fleetnet.export.targets.target import Files, Imitated, Int8, Run, Target, only_one_image
from fleetnet.inference.engines import Pixels

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

ENVIRONMENT = Environment("micro", megabytes=90)
_TAKES = """\
`int8[1, {crop}, {crop}, 3]`, RGB: each byte of the pixels less 128"""
_HOW = """\
`main.cpp` is a whole program: it takes pictures of {crop} by {crop} pixels, bytes R, G and B row by
row, from standard input, until there is a camera in place of `read_picture`, and prints the most
probable class of each. `model_data.cpp` is the network as an array, which stays in flash; `model.h`
has the operators that it takes, the size of the arena (`arena_bytes`, all the memory that is
written to) and the step and zero point by which the logits are numbers. Build these with
tflite-micro's sources:

    make -f tensorflow/lite/micro/tools/make/Makefile microlite
    c++ -std=c++17 -I. -ITFLM -ITFLM/…/downloads/flatbuffers/include main.cpp model_data.cpp \\
        libtensorflow-microlite.a -o classify

These lines were not run where this was made, as tflite-micro's sources could not be reached: the
program was compiled against declarations of what it calls. The network ran, in the interpreter
that the figures below are from.

The arena was measured in the reference interpreter on a 64-bit machine; a 32-bit processor takes
less. Optimised kernels, such as CMSIS-NN's, may take some more for themselves: `AllocateTensors`
says so. `network.json` has the same figures for other programs."""


def refuse(_bundle: Bundle, precision: str, _batch: int | None) -> Files:
    """Refuse what needs no calibration.

    Raises:
        FleetnetError: always.
    """
    raise FleetnetError(f"microcontrollers take int8, not {precision}")


def calibrate(
    bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
) -> Imitated:
    """Measure the ranges as for LiteRT; of the network in int8 that is found, its memory too.

    The search runs LiteRT's interpreter, as the reference kernels take seconds for an image of a
    phone's network.

    Raises:
        FleetnetError: more than one image at a time was asked for.
    """
    only_one_image(batch, "a microcontroller")
    ENVIRONMENT.make()
    quantize = litert.calibrate(bundle, 1, pixels, layers, whole=True)

    def measured(kept: Sequence[str]) -> Files:
        network = quantize(kept)
        # The network comes back as well: with its weights where tflite-micro looks for them.
        return convert(ENVIRONMENT, "micro_arena", network, (*network, FACTS))

    def imitate(kept: Sequence[str]) -> Run:
        return litert.load(quantize(kept))

    return Imitated(measured, imitate)


def load(files: Files) -> Run:
    """Run a file in tflite-micro's interpreter, in as much memory as was said."""
    return Worker(ENVIRONMENT, "micro_run", files)


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run a file in LiteRT's interpreter, whose arithmetic is the same, for its layers."""
    return Worker(litert.ENVIRONMENT, "litert_run", files, {"layers": True})


TARGET = Target(
    name="micro",
    title="LiteRT for microcontrollers",
    format="litert-micro",
    precisions=("int8",),
    package="tflite_micro",
    command="",
    convert=refuse,
    load=load,
    layers=layers,
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    one_size=True,
    int8=Int8("ai-edge-quantizer", calibrate, litert.ENVIRONMENT, weight_bits=(7, 8)),
    beside=program,
    how=_HOW,
    takes=_TAKES,
    gives="int8",
)
