"""Android: a whole app's project, with the network for LiteRT and for ncnn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.android_project import ASSETS, project
from fleetnet.export.separate import Worker
from fleetnet.export.targets import litert, ncnn
from fleetnet.export.targets.target import Files, Int8, Quantize, Run, Target, only_one_image
from fleetnet.inference.engines import Logits, Pixels
from fleetnet.inference.probabilities import softmax

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

_ALIKE = 2e-3
"""Largest difference of a probability between the two."""
_HOW = """\
The folder is a project for Android Studio (`File`, `Open`), or for Gradle 8.9 and newer on the
command line, with the NDK and CMake of the SDK:

    gradle assembleDebug
    adb install app/build/outputs/apk/debug/app-debug.apk

The app shows what the camera sees, or a photograph, with its five most probable classes and the
time that an image took. The picture is resized by Fleetnet's C core (`app/src/main/cpp/core`),
which gives the pixels that Python gives, to the bit; `model.h` beside it has what it has to know of
this network. LiteRT comes from Maven. For ncnn, unpack its Android package, `ncnn-…-android.zip` of
its releases, to `app/src/main/cpp/ncnn`, so that `arm64-v8a` is in there; without it the app offers
LiteRT alone. In int8 the project has LiteRT's file and none for ncnn: each rounds in its own way,
and only one network is judged.

Both compute with 32 bits on the processor, LiteRT's int8 with 8. Here their files were run by
LiteRT and ncnn on a processor of another kind; the app itself was not run, nor built, where this
was written."""


def convert(bundle: Bundle, precision: str, batch: int | None) -> Files:
    """Convert the network by the converters of LiteRT and of ncnn.

    Raises:
        FleetnetError: more than one image at a time was asked for.
    """
    only_one_image(batch, "the app")
    return {
        **litert.to_tflite(bundle, precision, 1),
        **ncnn.to_ncnn(bundle, precision, 1),
    }


class Both(Worker):
    """LiteRT, whose answers ncnn has to give too.

    Raises:
        FleetnetError: one of them does not take its file.
    """

    def __init__(self, files: Files) -> None:
        super().__init__(litert.ENVIRONMENT, "litert_run", files)
        try:
            self._other = Worker(ncnn.ENVIRONMENT, "ncnn_run", files)
        except BaseException:
            super().close()
            raise

    def __call__(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, crop, crop, 3]`` to logits ``float32[N, K]``.

        Raises:
            FleetnetError: the two differ.
        """
        found, other = super().__call__(pixels), self._other(pixels)
        apart = float(np.abs(softmax(found) - softmax(other)).max())
        if not apart <= _ALIKE:
            raise FleetnetError(f"LiteRT and ncnn differ: probabilities by up to {apart:.2g}")
        return found

    def close(self) -> None:
        """End both processes; may be called again."""
        super().close()
        self._other.close()


def calibrate(
    bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
) -> Quantize:
    """Make LiteRT's file in int8, as for LiteRT alone; ncnn gets none.

    Raises:
        FleetnetError: more than one image at a time was asked for.
    """
    only_one_image(batch, "the app")
    return litert.calibrate(bundle, 1, pixels, layers)


def load(files: Files) -> Run:
    """Run the files in LiteRT and in ncnn, on one thread; in LiteRT alone where ncnn has none."""
    return Both(files) if ncnn.FILES[0] in files else litert.load(files)


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run LiteRT's file for what its layers compute."""
    return Worker(litert.ENVIRONMENT, "litert_run", files, {"layers": True})


TARGET = Target(
    name="android",
    title="Android",
    format="android",
    precisions=("fp32", "fp16", "int8"),
    package="ai-edge-litert",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    needs={"torch": "fleetnet[export]"},
    environment=litert.ENVIRONMENT,
    made_by=litert.TARGET.made_by,
    one_size=True,
    int8=Int8("ai-edge-quantizer", calibrate, weight_bits=(7, 8)),
    version_folder=ASSETS,
    around=project,
    how=_HOW,
)
