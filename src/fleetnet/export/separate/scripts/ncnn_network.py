"""An ncnn network in a folder, for measuring its ranges and for running it, in fp32 arithmetic."""

import ncnn
import numpy as np

PARAMETERS = "model.ncnn.param"
WEIGHTED = ("Convolution", "ConvolutionDepthWise", "InnerProduct")


def load(folder, *, keep):
    """Return the network; with ``keep``, the values of its layers can be had afterwards."""
    network = ncnn.Net()
    network.opt.num_threads = 1
    network.opt.use_vulkan_compute = False
    network.opt.use_fp16_packed = False
    network.opt.use_fp16_storage = False
    network.opt.use_fp16_arithmetic = False
    network.opt.use_bf16_storage = False
    # Else the values of layers go as soon as the next ones are computed.
    network.opt.lightmode = not keep
    if network.load_param(str(folder / PARAMETERS)):
        raise ValueError(f"ncnn does not take {PARAMETERS}")
    if network.load_model(str(folder / "model.ncnn.bin")):
        raise ValueError("ncnn does not take model.ncnn.bin")
    return network


def weighted(folder):
    """Return the names of what each layer with weights takes, and of what it gives."""
    # Type, name, how many inputs and outputs, their names, then the layer's own values.
    lines = [line.split() for line in (folder / PARAMETERS).read_text().splitlines()[2:]]
    layers = [line for line in lines if line and line[0] in WEIGHTED]
    return [line[4] for line in layers], [line[4 + int(line[2])] for line in layers]


def values(network, image, names):
    """Yield the values of these names, for ``uint8[crop, crop, 3]``, each in a row."""
    height, width, _ = image.shape
    given = ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_RGB, width, height)
    extractor = network.create_extractor()
    if extractor.input("in0", given):
        raise ValueError("ncnn does not take the image as in0")
    for name in names:
        code, found = extractor.extract(name)
        if code:
            raise ValueError(f"ncnn cannot compute {name}: it returned {code}")
        # A copy: what it is a view of goes with the extractor.
        yield np.array(found).reshape(-1)
