"""Answer pixels with model.ncnn.param and model.ncnn.bin, in fp32 arithmetic."""

import sys
from pathlib import Path

import ncnn
import numpy as np
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps pixels to logits, one image after the other."""
    network = ncnn.Net()
    network.opt.num_threads = 1
    network.opt.use_vulkan_compute = False
    network.opt.use_fp16_packed = False
    network.opt.use_fp16_storage = False
    network.opt.use_fp16_arithmetic = False
    network.opt.use_bf16_storage = False
    if network.load_param(str(folder / "model.ncnn.param")):
        raise ValueError("ncnn does not take model.ncnn.param")
    if network.load_model(str(folder / "model.ncnn.bin")):
        raise ValueError("ncnn does not take model.ncnn.bin")

    def one(image):
        height, width, _ = image.shape
        given = ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_RGB, width, height)
        extractor = network.create_extractor()
        if extractor.input("in0", given):
            raise ValueError("ncnn does not take the image as in0")
        code, logits = extractor.extract("out0")
        if code:
            raise ValueError(f"ncnn cannot compute out0: it returned {code}")
        # A copy: what it is a view of goes with the extractor.
        return np.array(logits)

    return lambda pixels: np.stack([one(image) for image in pixels])


answer(load)
