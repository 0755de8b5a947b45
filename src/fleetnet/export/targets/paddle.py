"""Paddle Inference: a static program of PaddlePaddle, in its newer and its older format."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.agreeing import Agreeing
from fleetnet.export.python_program import program
from fleetnet.export.separate import Environment, Worker
from fleetnet.export.separate import convert as converted
from fleetnet.export.targets.target import Files, Run, Target

ENVIRONMENT = Environment("paddle", megabytes=830)
NEWER, OLDER = ("model.json", "model.pdiparams"), ("older.pdmodel", "older.pdiparams")
"""Programs, and their weights, which each format orders in its own way."""
_HOW = (
    """\
`model.json` is the program for PaddlePaddle 3 (its PIR), with the weights in `model.pdiparams`;
`older.pdmodel` and `older.pdiparams` are the same for releases before it, and for tools that know
the older format. Copy the two that you need. The input is `pixels`, the only output the logits. In
Python (`pip install paddlepaddle fleetnet`), in this folder:

"""
    + program(
        "from paddle import inference",
        """\
        settings = inference.Config("model.json", "model.pdiparams")
        settings.disable_glog_info()
        settings.disable_mkldnn()
        predictor = inference.create_predictor(settings)
        predictor.get_input_handle("pixels").copy_from_cpu(pixels)
        predictor.run()
        (name,) = predictor.get_output_names()
        logits = predictor.get_output_handle(name).copy_to_cpu()""",
    )
    + """

`disable_mkldnn` leaves oneDNN out: in 3.3.1 it breaks some networks, ReXNet among them, which then
end with a segmentation fault or wait for ever. In C++ it is `Config::DisableMKLDNN`, and the
program the same. Both formats ran here, and had to agree; for the older one PaddlePaddle 3 wants
`FLAGS_enable_pir_api=0` in the environment."""
)


def steps(bundle: Bundle, batch: int) -> Files:
    """Return the network as the files that :func:`to_paddle` takes."""
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.plain_onnx import plain_graph
    from fleetnet.export.plain_steps import steps_of

    return steps_of(plain_graph(bundle, batch))


def to_paddle(
    written: Files, crop: int, batch: int, *, older: bool, of_bytes: bool
) -> dict[str, bytes]:
    """Return the program and its weights, in one of the formats.

    Args:
        written: the network, of :func:`steps`.
        crop: height and width of its images.
        batch: how many it takes.
        older: write :data:`OLDER`, in place of :data:`NEWER`.
        of_bytes: take ``uint8[batch, crop, crop, 3]``, in place of ``float32[batch, 3, crop,
            crop]`` from 0 to 255.
    """
    shape = [batch, crop, crop, 3] if of_bytes else [batch, 3, crop, crop]
    settings = {"older": older, "bytes": of_bytes, "shape": shape}
    files = OLDER if older else NEWER
    return converted(ENVIRONMENT, "paddle_convert", written, files, settings)


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Write the network as a program of Paddle's, in both formats."""
    size, crop = batch or 1, bundle.manifest.preprocess.crop
    written = steps(bundle, size)
    return {
        **to_paddle(written, crop, size, older=False, of_bytes=True),
        **to_paddle(written, crop, size, older=True, of_bytes=True),
    }


def load(files: Files) -> Run:
    """Run both formats in Paddle Inference, on one thread; their answers have to agree."""
    newer = Worker(ENVIRONMENT, "paddle_run", files, {"older": False})
    try:
        older = Worker(ENVIRONMENT, "paddle_run", files, {"older": True})
    except BaseException:
        newer.close()
        raise
    return Agreeing(newer, older, "Paddle's two formats")


def layer_steps(bundle: Bundle, batch: int) -> Files:
    """Return the same, but for a network that gives what its layers compute."""
    from fleetnet.export.plain_onnx import plain_graph
    from fleetnet.export.plain_steps import steps_of
    from fleetnet.export.tapped_graph import tapped

    return steps_of(tapped(plain_graph(bundle, batch)))


def layers(bundle: Bundle, _files: Files, batch: int | None) -> Run:
    """Write the network anew, in the newer format: Paddle Inference gives outputs alone."""
    size, crop = batch or 1, bundle.manifest.preprocess.crop
    written = layer_steps(bundle, size)
    newer = to_paddle(written, crop, size, older=False, of_bytes=True)
    return Worker(ENVIRONMENT, "paddle_run", newer, {"older": False})


TARGET = Target(
    name="paddle",
    title="Paddle Inference",
    format="paddle",
    precisions=("fp32",),
    package="paddlepaddle",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    anew=True,
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("paddlepaddle",),
    one_size=True,
    how=_HOW,
)
