"""Answer pixels with model.ncnn.param and model.ncnn.bin, in fp32 arithmetic."""

import json
import sys
from pathlib import Path

import ncnn
import numpy as np
from channel import answer

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
WEIGHTED = ("Convolution", "ConvolutionDepthWise", "InnerProduct")


def wanted():
    """Return the names of the values to answer with: the logits, or those of all layers."""
    if not settings.get("layers"):
        return ["out0"]
    # Type, name, how many inputs and outputs, their names, then the layer's own values.
    lines = [line.split() for line in (folder / "model.ncnn.param").read_text().splitlines()[2:]]
    return [line[4 + int(line[2])] for line in lines if line and line[0] in WEIGHTED]


def load():
    """Return what maps pixels to logits, one image after the other."""
    network = ncnn.Net()
    network.opt.num_threads = 1
    network.opt.use_vulkan_compute = False
    network.opt.use_fp16_packed = False
    network.opt.use_fp16_storage = False
    network.opt.use_fp16_arithmetic = False
    network.opt.use_bf16_storage = False
    # Else the values of layers go as soon as the next ones are computed.
    network.opt.lightmode = not settings.get("layers")
    if network.load_param(str(folder / "model.ncnn.param")):
        raise ValueError("ncnn does not take model.ncnn.param")
    if network.load_model(str(folder / "model.ncnn.bin")):
        raise ValueError("ncnn does not take model.ncnn.bin")
    names = wanted()

    def one(image):
        height, width, _ = image.shape
        given = ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_RGB, width, height)
        extractor = network.create_extractor()
        if extractor.input("in0", given):
            raise ValueError("ncnn does not take the image as in0")
        return np.concatenate([values(extractor, name) for name in names])

    def values(extractor, name):
        code, found = extractor.extract(name)
        if code:
            raise ValueError(f"ncnn cannot compute {name}: it returned {code}")
        # A copy: what it is a view of goes with the extractor.
        return np.array(found).reshape(-1)

    return lambda pixels: np.stack([one(image) for image in pixels])


answer(load)
