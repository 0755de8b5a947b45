"""ONNX Runtime: on the processor, and on devices that its build has execution providers for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, FleetnetError, one_line
from fleetnet.inference.engines.closing import Closing
from fleetnet.inference.engines.engine import CPU, Logits, Pixels, Setup
from fleetnet.inference.engines.fitting import check_graph, said_in_one_line
from fleetnet.inference.engines.kind import EngineKind, Takes
from fleetnet.inference.engines.runtime import Runtime
from fleetnet.threads import map_in_threads

if TYPE_CHECKING:
    import onnxruntime as ort
else:
    ort = Runtime("onnxruntime")

ELSEWHERE = ("AzureExecutionProvider",)
"""This provider sends its input to a server: it is no device of this machine."""
_ENDING = "ExecutionProvider"
_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Options of the providers. By default, CUDA would compute fp32 with 10 of the 23 bits."""


class OnnxRuntimeEngine(Closing["ort.InferenceSession"]):
    """An ONNX graph in an ONNX Runtime session.

    In throughput mode, each batch is computed by one thread: several threads may run a session, and
    they share its weights. However many threads call, no more batches are computed at once than
    the setup says: each needs memory for activations, and processors beyond the threads asked for.
    """

    name = "onnxruntime"

    def __init__(self, onnx: bytes | str, setup: Setup) -> None:
        self.version: str = ort.__version__
        self.precision = setup.precision
        self.device = setup.device
        self.threads = setup.threads
        self._in_flight = setup.in_flight
        self._turns = threading.Semaphore(setup.in_flight)
        options = ort.SessionOptions()
        options.intra_op_num_threads = max(1, setup.threads // setup.in_flight)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = _session(onnx, options, setup.device)
        self._input = session.get_inputs()[0].name
        self.shape: list[object] = session.get_inputs()[0].shape
        self.inputs = len(session.get_inputs())
        self.outputs_named = [output.name for output in session.get_outputs()]
        super().__init__(session)

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        return self.outputs(pixels)["logits"]

    def outputs(self, pixels: Pixels) -> dict[str, Logits]:
        """Return every output of the graph by name.

        Raises:
            FleetnetError: ONNX Runtime cannot compute the network, or the engine is closed.
        """
        return self._compute(self._taken(), pixels)

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, in order; in throughput mode several at a time."""
        session = self._taken()

        def answer(pixels: Pixels) -> Logits:
            return self._compute(session, pixels)["logits"]

        if self._in_flight == 1:
            yield from map(answer, batches)
            return
        # One more than are computed, so that no thread waits for the caller's next batch.
        yield from map_in_threads(answer, batches, self._in_flight, ahead=self._in_flight)

    def _compute(self, session: ort.InferenceSession, pixels: Pixels) -> dict[str, Logits]:
        with self._turns, said_in_one_line(self):
            values = session.run(None, {self._input: pixels})
        return dict(zip(self.outputs_named, values, strict=True))


def _session(onnx: bytes | str, options: ort.SessionOptions, device: str) -> ort.InferenceSession:
    """Load a graph for a device; the processor computes the parts that the device cannot.

    Raises:
        FleetnetError: the provider exists, but it does not work.
    """
    processor = f"CPU{_ENDING}"
    if device == CPU:
        return ort.InferenceSession(onnx, options, providers=[processor])
    provider = next(name for name in ort.get_available_providers() if _word(name) == device)
    wanted = [(provider, _OPTIONS.get(provider, {})), processor]
    session = ort.InferenceSession(onnx, options, providers=wanted)
    if provider not in session.get_providers():
        # ONNX Runtime goes on without it and only writes a line to its log.
        raise FleetnetError(
            f"onnxruntime cannot use the device {device}: its driver or libraries are missing"
        )
    return session


def _word(provider: str) -> str:
    return provider.removesuffix(_ENDING).lower()


def devices() -> tuple[str, ...]:
    """Return what this build of ONNX Runtime has providers for, the processor first."""
    there = [_word(name) for name in ort.get_available_providers() if name not in ELSEWHERE]
    return tuple(sorted(there, key=lambda word: word != CPU))


def open(bundle: Bundle, setup: Setup) -> OnnxRuntimeEngine:  # noqa: A001
    """Load the bundle's ONNX graph.

    Raises:
        BundleError: the file is absent, damaged, or no graph that ONNX Runtime reads.
        FleetnetError: the device does not work.
    """
    path, content = bundle.content(format="onnx", precision=setup.precision)
    try:
        engine = OnnxRuntimeEngine(content, setup)
    except FleetnetError:
        raise
    except Exception as error:
        # ONNX Runtime's exceptions share no public base class.
        reason = one_line(error)
        raise BundleError(f"ONNX Runtime cannot read {path}: {reason}") from None
    check_graph(bundle, path, engine.inputs, engine.shape[1:], engine.outputs_named)
    return engine


ENGINE = EngineKind(
    name=OnnxRuntimeEngine.name,
    needs="onnxruntime",
    title="ONNX Runtime",
    extra="onnxruntime",
    takes={"fp32": Takes("onnx"), "int8": Takes("onnx", "int8")},
    open=open,
    devices=devices,
    of_graph=OnnxRuntimeEngine,
)
