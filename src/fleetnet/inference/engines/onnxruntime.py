"""ONNX Runtime on the CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.inference.engines import Logits


class OnnxRuntimeEngine:
    """An ONNX graph in an ONNX Runtime session, in fp32."""

    name = "onnxruntime"
    precision = "fp32"
    version: str = ort.__version__

    def __init__(self, onnx: bytes | str, threads: int) -> None:
        self.threads = threads
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, pixels: npt.NDArray[np.uint8]) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        return self.outputs(pixels)["logits"]

    def outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Logits]:
        """Return every output of the graph by name."""
        values = self._session.run(None, {self._input: pixels})
        return dict(zip(self._names, values, strict=True))


def open(bundle: Bundle, threads: int) -> OnnxRuntimeEngine:  # noqa: A001
    """Load the bundle's ONNX graph.

    Raises:
        BundleError: the file is absent, damaged, or no graph that ONNX Runtime reads.
    """
    path = bundle.artifact("onnx")
    try:
        return OnnxRuntimeEngine(str(path), threads)
    except Exception as error:
        # ONNX Runtime's exceptions share no public base class.
        reason = " ".join(str(error).split())
        raise BundleError(f"ONNX Runtime cannot read {path}: {reason}") from None
