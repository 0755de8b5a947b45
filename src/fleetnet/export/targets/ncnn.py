"""ncnn: small and fast on the processors and graphics of phones and boards."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.native_program import built, program
from fleetnet.export.ncnn_files import NUMBERS, PARAMETERS, read_layers
from fleetnet.export.ncnn_int8 import in_int8
from fleetnet.export.python_program import program as in_python
from fleetnet.export.reweighted import weights_in
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets.target import (
    Files,
    Int8,
    Quantize,
    Run,
    Target,
    as_npy,
    only_one_image,
)
from fleetnet.inference.engines import Pixels

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

ENVIRONMENT = Environment("ncnn", megabytes=210)
FILES = (PARAMETERS, NUMBERS)
CALIBRATION = 64
"""Images to measure ranges on, at most."""
_TAKES = """\
`float32[1, 3, {crop}, {crop}]`, which is NCHW, from 0 to 255: the planes R, G and B of one image,
as `from_pixels` makes them of its bytes, without `substract_mean_normalize`"""
_HOW = (
    """\
The input is `in0`, the output `out0`. In Python (`pip install fleetnet`, then `pip
install --no-deps ncnn`), in this folder:

"""
    + in_python(
        "import ncnn",
        """\
        network = ncnn.Net()
        network.opt.use_fp16_packed = network.opt.use_fp16_storage = False
        network.opt.use_fp16_arithmetic = network.opt.use_bf16_storage = False
        network.load_param("model.ncnn.param")
        network.load_model("model.ncnn.bin")
        extractor = network.create_extractor()
        kind = ncnn.Mat.PixelType.PIXEL_RGB
        extractor.input("in0", ncnn.Mat.from_pixels(picture, kind, {crop}, {crop}))
        logits = np.array(extractor.extract("out0")[1])[np.newaxis]""",
    )
    + """

The three options of fp16 are on by default: ncnn then keeps numbers in 16 bits, and computes with
them where a processor can, whatever the file has. That is faster, and the answers are other ones
than those verified here, which were computed with 32. In C++ the names are the same.

"""
    + built("ncnn installed in a folder PREFIX")
)


def to_ncnn(bundle: Bundle, precision: str, batch: int | None) -> Files:
    """Convert the network by pnnx, from TorchScript.

    In fp16 the weights are stored in half the space.

    Raises:
        FleetnetError: more than one image at a time was asked for.
    """
    only_one_image(batch, "ncnn")
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.program import TRACED, traced_network

    settings = {"precision": precision, "crop": bundle.manifest.preprocess.crop}
    network = {TRACED: traced_network(bundle)}
    return convert(ENVIRONMENT, "ncnn_convert", network, FILES, settings)


def calibrate(
    bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
) -> Quantize:
    """Measure in ncnn what each layer takes, once, and return what rounds.

    Raises:
        FleetnetError: more than one image at a time was asked for, or ncnn has other layers.
    """
    files = to_ncnn(bundle, "fp32", batch)
    weighted = [layer for layer in read_layers(files) if layer.weighted]
    if [one.weights.size for one in weighted] != [math.prod(layer.weights) for layer in layers]:
        raise FleetnetError("ncnn's converter has made other layers of the network's")
    spread = np.linspace(0, len(pixels) - 1, min(CALIBRATION, len(pixels))).astype(int)
    given = {**files, "images.npy": as_npy(pixels[spread])}
    measured = convert(ENVIRONMENT, "ncnn_calibrate", given, ("ranges.npy",))["ranges.npy"]
    largest = np.load(io.BytesIO(measured)).tolist()
    weights = weights_in(bundle)
    names = [layer.name for layer in layers]
    integers = {names.index(name): weights.largest for name in weights.rounded} if weights else {}

    def quantize(kept: Sequence[str]) -> Files:
        places = {place for place, name in enumerate(names) if name in kept}
        return in_int8(files, largest, places, integers)

    return quantize


def load(files: Files) -> Run:
    """Run the files in ncnn, in fp32 arithmetic on one thread."""
    return Worker(ENVIRONMENT, "ncnn_run", files)


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the files for what their layers compute."""
    scales = [layer.gives_scale for layer in read_layers(files) if layer.weighted]
    return Worker(ENVIRONMENT, "ncnn_run", files, {"layers": scales})


TARGET = Target(
    name="ncnn",
    title="ncnn",
    format="ncnn",
    precisions=("fp32", "fp16", "int8"),
    package="ncnn",
    command="",
    convert=to_ncnn,
    load=load,
    layers=layers,
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("pnnx",),
    one_size=True,
    how=_HOW,
    beside=program("ncnn"),
    takes=_TAKES,
    int8=Int8("ncnn", calibrate, weight_bits=(7, 8)),
)
