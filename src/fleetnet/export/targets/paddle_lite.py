"""Paddle Lite: for phones and boards with Arm processors, and for x86."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.separate import Environment, Worker
from fleetnet.export.separate import convert as converted
from fleetnet.export.targets import paddle
from fleetnet.export.targets.target import Files, Run, Target

ENVIRONMENT = Environment("paddle-lite", megabytes=240, python="3.7")
FILES = ("model.x86.nb", "model.arm.nb")
_TAKES = """\
`float32[{batch}, 3, {crop}, {crop}]`, which is NCHW, from 0 to 255: the planes R, G and B of an
image"""
_HOW = """\
`model.arm.nb` is for phones and boards, `model.x86.nb` for x86; both are made by the optimiser of
Paddle Lite 2.12, and a library of that release reads them. In C++, with `rgb` as the bytes of an
image in rows:

    #include "paddle_api.h"

    paddle::lite_api::MobileConfig settings;
    settings.set_model_from_file("model.arm.nb");
    settings.set_threads(1);
    auto predictor =
        paddle::lite_api::CreatePaddlePredictor<paddle::lite_api::MobileConfig>(settings);
    auto given = predictor->GetInput(0);
    given->Resize({ {batch}, 3, {crop}, {crop} });
    float* planes = given->mutable_data<float>();
    for (int colour = 0; colour < 3; ++colour)
        for (int pixel = 0; pixel < {crop} * {crop}; ++pixel)
            *planes++ = rgb[3 * pixel + colour];
    predictor->Run();
    const float* logits = predictor->GetOutput(0)->data<float>();

The last package of Paddle Lite for Python is for 3.7 (`pip install paddlelite==2.12 numpy` there),
where `lite.MobileConfig`, `lite.create_paddle_predictor` and the predictor's `get_input(0)
.from_numpy(planes)`, `run()` and `get_output(0).numpy()` do the same. The figures below are of
`model.x86.nb` on one thread; `model.arm.nb` was written, and not run where this was made."""


def to_nb(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Write the network as a program of Paddle's older format, and have it optimised."""
    size, crop = batch or 1, bundle.manifest.preprocess.crop
    written = paddle.steps(bundle, size)
    older = paddle.to_paddle(written, crop, size, older=True, of_bytes=False)
    return converted(ENVIRONMENT, "paddle_lite_convert", older, FILES)


def load(files: Files) -> Run:
    """Run the file for x86 in Paddle Lite, on one thread."""
    return Worker(ENVIRONMENT, "paddle_lite_run", files)


TARGET = Target(
    name="paddle-lite",
    title="Paddle Lite",
    format="paddle-lite",
    precisions=("fp32",),
    package="paddlelite",
    command="",
    convert=to_nb,
    load=load,
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("paddlelite",),
    one_size=True,
    how=_HOW,
    takes=_TAKES,
)
