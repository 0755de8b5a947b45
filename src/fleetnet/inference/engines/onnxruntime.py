"""ONNX Runtime on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, one_line
from fleetnet.inference.engines import Logits, Pixels, Precision, Setup
from fleetnet.inference.engines.closing import Closing
from fleetnet.telemetry import without_telemetry
from fleetnet.threads import map_in_threads

with without_telemetry():
    import onnxruntime as ort

ARTIFACTS: dict[Precision, str] = {"fp32": "onnx", "int8": "onnx-int8"}
"""Precision to the artifact that holds the graph."""


class OnnxRuntimeEngine(Closing[ort.InferenceSession]):
    """An ONNX graph in an ONNX Runtime session.

    In throughput mode each batch is computed by a thread of its own: a session may be run from
    several threads, which share its weights. However many threads call, no more batches are
    computed at once than the setup says: each has its activations, and would take processors that
    were not asked for.
    """

    name = "onnxruntime"
    version: str = ort.__version__

    def __init__(self, onnx: bytes | str, setup: Setup) -> None:
        self.precision = setup.precision
        self.threads = setup.threads
        self._in_flight = setup.in_flight
        self._turns = threading.Semaphore(setup.in_flight)
        options = ort.SessionOptions()
        options.intra_op_num_threads = max(1, setup.threads // setup.in_flight)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self._input = session.get_inputs()[0].name
        self._names = [output.name for output in session.get_outputs()]
        super().__init__(session)

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        return self.outputs(pixels)["logits"]

    def outputs(self, pixels: Pixels) -> dict[str, Logits]:
        """Return every output of the graph by name."""
        return self._compute(self._taken(), pixels)

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, in order; in throughput mode side by side."""
        session = self._taken()

        def answer(pixels: Pixels) -> Logits:
            return self._compute(session, pixels)["logits"]

        if self._in_flight == 1:
            yield from map(answer, batches)
            return
        # One more than are computed, so that none waits for the caller to bring the next.
        yield from map_in_threads(answer, batches, self._in_flight, ahead=self._in_flight)

    def _compute(self, session: ort.InferenceSession, pixels: Pixels) -> dict[str, Logits]:
        with self._turns:
            values = session.run(None, {self._input: pixels})
        return dict(zip(self._names, values, strict=True))


def precisions(bundle: Bundle) -> tuple[Precision, ...]:
    """Return fp32, and int8 where the bundle has such a graph."""
    return tuple(name for name, artifact in ARTIFACTS.items() if bundle.has(artifact))


def open(bundle: Bundle, setup: Setup) -> OnnxRuntimeEngine:  # noqa: A001
    """Load the bundle's ONNX graph.

    Raises:
        BundleError: the file is absent, damaged, or no graph that ONNX Runtime reads.
    """
    path = bundle.artifact(ARTIFACTS[setup.precision])
    try:
        return OnnxRuntimeEngine(path.read_bytes(), setup)  # it takes no path that is not UTF-8
    except Exception as error:
        # ONNX Runtime's exceptions share no public base class.
        reason = one_line(error)
        raise BundleError(f"ONNX Runtime cannot read {path}: {reason}") from None
