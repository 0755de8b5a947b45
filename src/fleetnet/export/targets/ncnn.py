"""ncnn: small and fast on the processors and graphics of phones and boards."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.native_program import built, program
from fleetnet.export.python_program import program as in_python
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets.target import Files, Run, Target, only_one_image

ENVIRONMENT = Environment("ncnn", megabytes=210)
FILES = ("model.ncnn.param", "model.ncnn.bin")
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
