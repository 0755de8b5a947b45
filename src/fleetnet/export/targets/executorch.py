"""ExecuTorch: PyTorch's own runtime for Android, iOS and boards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetnet.bundle import Bundle
from fleetnet.export.native_program import built, program
from fleetnet.export.python_program import program as in_python
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets.target import Files, Imitated, Int8, Run, Target, as_npy
from fleetnet.inference.engines import Pixels

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

ENVIRONMENT = Environment("executorch", megabytes=1200)
FILE = "model.pte"
_HOW = (
    """\
The program's only method is `forward`, with the pixels as its only argument and the logits as its
only value. It needs a runtime with the XNNPACK delegate and the portable operators. In Python (`pip
install executorch fleetnet`), in this folder:

"""
    + in_python(
        """\
        import torch
        from executorch.runtime import Runtime""",
        """\
        network = Runtime.get().load_program("model.pte")
        method = network.load_method("forward")
        (found,) = method.execute([torch.from_numpy(pixels)])
        logits = found.numpy().copy()  # the next call writes over it""",
    )
    + "\n\n"
    + built(
        "PREFIX as the folder `executorch` that `pip install executorch` makes, whose headers and\n"
        "libraries are all that it takes: `python -c 'import executorch; "
        "print(executorch.__path__[0])'`"
    )
)


def to_pte(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Convert the network, with XNNPACK for all that it can compute."""
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.program import exported_program

    return _lowered(exported_program(bundle, batch or 1), layers=False)


def _lowered(program: bytes, *, layers: bool) -> Files:
    from fleetnet.export.program import PROGRAM

    settings = {"layers": layers}
    return convert(ENVIRONMENT, "executorch_convert", {PROGRAM: program}, (FILE,), settings)


def calibrate(
    bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
) -> Imitated:
    """Export the network and measure its ranges once; PyTorch's pt2e rounds it for XNNPACK.

    Turning a rounded network into XNNPACK's takes most of the time, and PyTorch itself computes
    one too.
    """
    from fleetnet.export.program import PROGRAM, exported_program

    given = {PROGRAM: exported_program(bundle, batch or 1)}
    images = {**given, "images.npy": as_npy(pixels)}
    size = {"batch": batch or 1}
    given |= convert(ENVIRONMENT, "executorch_calibrate", images, ("ranges.json",), size)
    names = [layer.name for layer in layers]

    def settings(kept: Sequence[str]) -> dict[str, list[str]]:
        return {"layers": names, "kept": list(kept)}

    def quantize(kept: Sequence[str]) -> Files:
        return convert(ENVIRONMENT, "executorch_quantize", given, (FILE,), settings(kept))

    def imitate(kept: Sequence[str]) -> Run:
        return Worker(ENVIRONMENT, "executorch_imitate", given, settings(kept))

    return Imitated(quantize, imitate)


def load(files: Files) -> Run:
    """Run a file in ExecuTorch's runtime, on one thread."""
    return Worker(ENVIRONMENT, "executorch_run", files)


def layers(bundle: Bundle, _files: Files, batch: int | None) -> Run:
    """Convert the network anew, with its layers as its output: XNNPACK gives outputs alone."""
    from fleetnet.export.program import exported_program

    return load(_lowered(exported_program(bundle, batch or 1), layers=True))


TARGET = Target(
    name="executorch",
    title="ExecuTorch",
    format="executorch",
    precisions=("fp32", "int8"),
    package="executorch",
    command="",
    convert=to_pte,
    load=load,
    layers=layers,
    anew=True,
    how=_HOW,
    beside=program("executorch"),
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("executorch", "torch"),
    one_size=True,
    int8=Int8("torchao", calibrate),
)
