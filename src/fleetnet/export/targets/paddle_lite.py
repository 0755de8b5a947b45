"""Paddle Lite: for phones and boards with Arm processors, and for x86."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.native_program import built, program
from fleetnet.export.separate import Environment, Worker
from fleetnet.export.separate import convert as converted
from fleetnet.export.targets import paddle
from fleetnet.export.targets.target import Files, Run, Target

ENVIRONMENT = Environment("paddle-lite", megabytes=240, python="3.7")
FILES = ("model.x86.nb", "model.arm.nb")
_TAKES = """\
`float32[{batch}, 3, {crop}, {crop}]`, which is NCHW, from 0 to 255: the planes R, G and B of an
image"""
_HOW = (
    """\
`model.arm.nb` is for phones and boards, `model.x86.nb` for x86; both are made by the optimiser of
Paddle Lite 2.12, and a library of that release reads them: `inference_lite_lib…` of its releases,
or what its `lite/tools/build_linux.sh` makes.

"""
    + built(
        "Paddle Lite's headers and library (its folder `cxx`, with `include` and `lib`) as PREFIX"
    )
    + """

The last package of Paddle Lite for Python is for 3.7 (`pip install paddlelite==2.12 numpy` there),
and has no headers. With `planes` as this page's first lines say:

    from paddlelite import lite

    settings = lite.MobileConfig()
    settings.set_model_from_file("model.x86.nb")
    predictor = lite.create_paddle_predictor(settings)
    predictor.get_input(0).from_numpy(planes)
    predictor.run()
    logits = predictor.get_output(0).numpy()

The figures below are of `model.x86.nb` on one thread; `model.arm.nb` was written, and not run where
this was made."""
)


def to_nb(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Write the network as a program of Paddle's older format, and have it optimised."""
    return _optimised(bundle, paddle.steps(bundle, batch or 1), batch or 1)


def _optimised(bundle: Bundle, written: Files, size: int) -> Files:
    crop = bundle.manifest.preprocess.crop
    older = paddle.to_paddle(written, crop, size, older=True, of_bytes=False)
    return converted(ENVIRONMENT, "paddle_lite_convert", older, FILES)


def load(files: Files) -> Run:
    """Run the file for x86 in Paddle Lite, on one thread."""
    return Worker(ENVIRONMENT, "paddle_lite_run", files)


def layers(bundle: Bundle, _files: Files, batch: int | None) -> Run:
    """Write the network anew, with its layers as its output: Paddle Lite gives outputs alone."""
    return load(_optimised(bundle, paddle.layer_steps(bundle, batch or 1), batch or 1))


TARGET = Target(
    name="paddle-lite",
    title="Paddle Lite",
    format="paddle-lite",
    precisions=("fp32",),
    package="paddlelite",
    command="",
    convert=to_nb,
    load=load,
    layers=layers,
    anew=True,
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("paddlelite",),
    one_size=True,
    how=_HOW,
    beside=program("paddle-lite"),
    takes=_TAKES,
)
