"""Compilers of accelerators' vendors, which are not to be had here: what all of them ask for."""

from __future__ import annotations

import io

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.export.targets.target import Files, Run, Target
from fleetnet.export.targets.tnn import run_planes
from fleetnet.inference.engines import Pixels

FILE = "model.onnx"
SAMPLES = 64
"""Images to calibrate on, at most."""
_FOLDER = "calibration"
_TAKES = """\
`float32[{batch}, 3, {crop}, {crop}]`, the planes R, G and B of an image, from 0 to 255"""
_HOW = """\
`model.onnx` is a graph of opset 11 with fixed shapes, whose input is `pixels` and whose output is
`logits`. No mean and no scale belongs into a tool's settings: normalisation is in the graph. In
`calibration/` are images to round by, of those that the figures below are of:

- `nchw/000.raw` …: `float32[3, {crop}, {crop}]`, one image each, and `nchw.txt`, which lists them
- `nhwc.npy`: `float32[N, {crop}, {crop}, 3]`, the same images

Qualcomm (QAIRT, in this folder; its converter keeps the graph's layout, which is that of the files;
the older `qnn-onnx-converter` turns the input to NHWC, and then takes files of that layout):

    qairt-converter --input_network model.onnx --output_path model.dlc
    qairt-quantizer --input_dlc model.dlc --input_list calibration/nchw.txt \\
        --output_dlc model.int8.dlc

Hailo (Dataflow Compiler; it turns the input to NHWC, as the array is):

    hailo parser onnx model.onnx --hw-arch hailo8 --har-path model.har
    hailo optimize model.har --hw-arch hailo8 --calib-set-path calibration/nhwc.npy \\
        --output-har-path model.int8.har
    hailo compiler model.int8.har --hw-arch hailo8

These tools are in no registry: their commands are as their makers' pages have them, and neither
they nor any accelerator ran where this was made. The figures below are from ONNX Runtime, of
`model.onnx`, in fp32. Judge what a tool makes by images of yours that are not among these."""


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Write the network anew, in opset 11 and for fixed shapes."""
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.plain_onnx import plain_graph

    return {FILE: plain_graph(bundle, batch or 1)}


def load(files: Files) -> Run:
    """Open the graph in ONNX Runtime."""
    return run_planes(files[FILE])


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the graph with its layers as its output."""
    from fleetnet.export.tapped_graph import tapped

    return load({FILE: tapped(files[FILE])})


def samples(pixels: Pixels) -> Files:
    """Return images, spread over those given, in the layouts that tools take."""
    spread = np.linspace(0, len(pixels) - 1, min(SAMPLES, len(pixels))).astype(int)
    rows = pixels[spread].astype("<f4")
    planes = rows.transpose(0, 3, 1, 2)
    names = [f"{_FOLDER}/nchw/{number:03}.raw" for number in range(len(rows))]
    buffer = io.BytesIO()
    np.save(buffer, rows)
    return {
        **{name: image.tobytes() for name, image in zip(names, planes, strict=True)},
        f"{_FOLDER}/nchw.txt": "".join(f"{name}\n" for name in names).encode(),
        f"{_FOLDER}/nhwc.npy": buffer.getvalue(),
    }


TARGET = Target(
    name="vendors",
    title="Qualcomm, Hailo and other vendors",
    format="vendors-onnx",
    precisions=("fp32",),
    package="onnxruntime",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    samples=samples,
    how=_HOW,
    takes=_TAKES,
    needs={"torch": "fleetnet[export]", "onnxruntime": "fleetnet[onnxruntime]"},
    one_size=True,
)
