"""ncnn: small and fast on the processors and graphics of phones and boards."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.native_program import built, program
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets.target import Files, Run, Target, only_one_image

ENVIRONMENT = Environment("ncnn", megabytes=210)
FILES = ("model.ncnn.param", "model.ncnn.bin")
_TAKES = """\
`float32[1, 3, {crop}, {crop}]`, which is NCHW, from 0 to 255: the planes R, G and B of one image,
as `from_pixels` makes them of its bytes, without `substract_mean_normalize`"""
_HOW = """\
The input is `in0`, the output `out0`. In C++, with `rgb` as the image's bytes, row by row:

    ncnn::Net network;
    network.opt.use_fp16_arithmetic = false;
    network.load_param("model.ncnn.param");
    network.load_model("model.ncnn.bin");
    ncnn::Extractor extractor = network.create_extractor();
    extractor.input("in0", ncnn::Mat::from_pixels(rgb, ncnn::Mat::PIXEL_RGB, width, height));
    ncnn::Mat logits;
    extractor.extract("out0", logits);

`use_fp16_arithmetic`, which is on by default where a processor has it, computes with 16 bits
whatever the file has: that is faster, and the answers are other ones than those verified here,
which were computed with 32. In Python (`pip install --no-deps ncnn`, and numpy) the names are the
same.

""" + built("ncnn installed in a folder PREFIX")


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


def load(files: Files) -> Run:
    """Run the files in ncnn, in fp32 arithmetic on one thread."""
    return Worker(ENVIRONMENT, "ncnn_run", files)


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the files for what their layers compute."""
    return Worker(ENVIRONMENT, "ncnn_run", files, {"layers": True})


TARGET = Target(
    name="ncnn",
    title="ncnn",
    format="ncnn",
    precisions=("fp32", "fp16"),
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
)
