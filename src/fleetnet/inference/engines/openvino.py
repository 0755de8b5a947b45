"""OpenVINO, the default: the fastest on x86 and Arm processors."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import properties
from openvino.frontend import FrontEndManager

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.inference.engines import Logits


class OpenVinoEngine:
    """An ONNX graph compiled by OpenVINO for the CPU, in fp32.

    Shapes are static for speed: each batch size is compiled when it first comes, and the two
    compiled last are kept (a full batch and the remainder).
    """

    name = "openvino"
    precision = "fp32"
    version = ov.__version__.partition("-")[0]

    def __init__(self, onnx: bytes | str, threads: int) -> None:
        self.threads = threads
        self._model = _read_onnx(onnx)
        self._compiled: dict[int, ov.CompiledModel] = {}

    def run(self, pixels: npt.NDArray[np.uint8]) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        return self.outputs(pixels)["logits"]

    def outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Logits]:
        """Return every output of the graph by name."""
        compiled = self._compiled.get(len(pixels)) or self._compile(len(pixels))
        results = compiled(np.ascontiguousarray(pixels))
        return {output.any_name: value for output, value in results.items()}

    def _compile(self, batch: int) -> ov.CompiledModel:
        model = self._model.clone()
        _, *rest = model.input(0).partial_shape
        model.reshape(ov.PartialShape([batch, *rest]))
        options = {
            properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
            # On processors with bf16 OpenVINO would use it unasked.
            properties.hint.inference_precision: ov.Type.f32,
            properties.inference_num_threads: self.threads,
        }
        if len(self._compiled) >= 2:
            del self._compiled[next(iter(self._compiled))]
        self._compiled[batch] = _core().compile_model(model, "CPU", options)
        return self._compiled[batch]


@cache
def _core() -> ov.Core:
    """Return the process's one core.

    OpenVINO's CPU plugin puts a signal stack of its own in place of the thread's and restores the
    former one when its core goes. Where a second core was made meanwhile, the first one's stack is
    restored although it is freed, and the next signal, such as that of a child process which ends,
    kills the process.
    """
    return ov.Core()


def _read_onnx(onnx: bytes | str) -> ov.Model:
    """Read an ONNX graph from a file or from bytes with the ONNX reader alone.

    ``Core.read_model`` hands a file that is no ONNX graph to the readers of every other format in
    turn: more parsers than hostile bytes should meet.
    """
    reader = FrontEndManager().load_by_framework("onnx")
    return reader.convert(reader.load(io.BytesIO(onnx) if isinstance(onnx, bytes) else onnx))


def open(bundle: Bundle, threads: int) -> OpenVinoEngine:  # noqa: A001 - fleetnet...openvino.open
    """Compile the bundle's ONNX graph.

    Raises:
        BundleError: the file is absent, damaged, or no graph that OpenVINO reads.
    """
    path = bundle.artifact("onnx")
    try:
        return OpenVinoEngine(str(path), threads)
    except Exception as error:
        # The reader's exceptions share no public base class.
        reason = " ".join(str(error).split())
        raise BundleError(f"OpenVINO cannot read {path}: {reason}") from None
