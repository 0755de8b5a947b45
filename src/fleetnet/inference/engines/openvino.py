"""OpenVINO, the default: the fastest on x86 and Arm processors."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, one_line
from fleetnet.inference.engines import Logits, Pixels, Precision, Setup
from fleetnet.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import properties
    from openvino.frontend import FrontEndManager

INT8, INT8_WEIGHTS = "openvino-int8", "openvino-int8-weights"
KEPT = 4
_TYPES = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16}
_MODES = {
    "latency": properties.hint.PerformanceMode.LATENCY,
    "throughput": properties.hint.PerformanceMode.THROUGHPUT,
}


class OpenVinoEngine:
    """A graph compiled by OpenVINO for the CPU.

    Shapes are static for speed: each batch size is compiled when it first comes, and the
    :data:`KEPT` compiled last are kept.
    """

    name = "openvino"
    version = ov.__version__.partition("-")[0]

    def __init__(self, model: ov.Model, setup: Setup) -> None:
        self.precision = setup.precision
        self.threads = setup.threads
        self._model = model
        self._in_flight = setup.in_flight
        self._options = {
            properties.hint.performance_mode: _MODES[setup.mode],
            # On processors with bf16 OpenVINO would use it unasked.
            properties.hint.inference_precision: _where_the_graph_does_not_say(setup.precision),
            properties.inference_num_threads: setup.threads,
            properties.num_streams: setup.in_flight,
        }
        self._compiled: dict[int, ov.CompiledModel] = {}

    @classmethod
    def of_onnx(cls, onnx: bytes | str, setup: Setup) -> OpenVinoEngine:
        """Compile an ONNX graph, given as the content of its file or as the file's path."""
        return cls(read_onnx(onnx), setup)

    @classmethod
    def of_ir(cls, graph: bytes, weights: bytes, setup: Setup) -> OpenVinoEngine:
        """Compile a graph in OpenVINO's own format, given as the contents of its two files."""
        return cls(core().read_model(graph, weights), setup)

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        return self.outputs(pixels)["logits"]

    def outputs(self, pixels: Pixels) -> dict[str, Logits]:
        """Return every output of the graph by name."""
        results = self._of_batch(len(pixels))(np.ascontiguousarray(pixels))
        return {output.any_name: value for output, value in results.items()}

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, in order; in throughput mode side by side."""
        if self._in_flight == 1:
            yield from map(self.run, batches)
            return
        # One more than are computed, so that none waits for the caller to bring the next.
        running: deque[ov.InferRequest] = deque()
        idle: deque[ov.InferRequest] = deque()
        size = None
        for batch in batches:
            if len(batch) != size:
                while running:
                    yield _logits(running.popleft())
                size = len(batch)
                compiled = self._of_batch(size)
                idle = deque(compiled.create_infer_request() for _ in range(self._in_flight + 1))
            if not idle:
                idle.append(running.popleft())
                yield _logits(idle[0])
            request = idle.popleft()
            request.start_async([np.ascontiguousarray(batch)], share_inputs=True)
            running.append(request)
        while running:
            yield _logits(running.popleft())

    def _of_batch(self, batch: int) -> ov.CompiledModel:
        return self._compiled.get(batch) or self._compile(batch)

    def _compile(self, batch: int) -> ov.CompiledModel:
        model = self._model.clone()
        _, *rest = model.input(0).partial_shape
        model.reshape(ov.PartialShape([batch, *rest]))
        if len(self._compiled) >= KEPT:
            del self._compiled[next(iter(self._compiled))]
        self._compiled[batch] = core().compile_model(model, "CPU", self._options)
        return self._compiled[batch]


def _where_the_graph_does_not_say(precision: Precision) -> ov.Type:
    """Return what is computed in; around int8 layers bf16, where the processor has it.

    The guard judges a network in int8 as it is computed here, so that what it keeps out of int8
    need not cost what fp32 does.
    """
    if precision != "int8":
        return _TYPES[precision]
    return ov.Type.bf16 if "BF16" in _capabilities() else ov.Type.f32


def _capabilities() -> list[str]:
    found: list[str] = core().get_property("CPU", properties.device.capabilities)
    return found


def _logits(request: ov.InferRequest) -> Logits:
    """Wait for a request and copy its answer, which the request's next one will overwrite."""
    request.wait()
    return np.array(request.get_tensor("logits").data, np.float32)


@cache
def core() -> ov.Core:
    """Return the process's one core.

    OpenVINO's CPU plugin puts a signal stack of its own in place of the thread's and restores the
    former one when its core goes. Where a second core was made meanwhile, the first one's stack is
    restored although it is freed, and the next signal, such as that of a child process which ends,
    kills the process.
    """
    return ov.Core()


def read_onnx(onnx: bytes | str) -> ov.Model:
    """Read an ONNX graph from a file or from bytes with the ONNX reader alone.

    ``Core.read_model`` hands a file that is no ONNX graph to the readers of every other format in
    turn: more parsers than hostile bytes should meet.
    """
    reader = FrontEndManager().load_by_framework("onnx")
    return reader.convert(reader.load(io.BytesIO(onnx) if isinstance(onnx, bytes) else onnx))


def precisions(bundle: Bundle) -> tuple[Precision, ...]:
    """Return what this processor computes natively, and int8 where the bundle has such a graph."""
    able = _capabilities()
    native = {"bf16": "BF16", "fp16": "FP16"}
    found: list[Precision] = ["fp32"]
    found += [name for name in ("bf16", "fp16") if native[name] in able]
    if bundle.has(INT8):
        found.append("int8")
    return tuple(found)


def open(bundle: Bundle, setup: Setup) -> OpenVinoEngine:  # noqa: A001 - fleetnet...openvino.open
    """Compile the bundle's graph.

    Raises:
        BundleError: the file is absent, damaged, or no graph that OpenVINO reads.
    """
    path = bundle.artifact(INT8 if setup.precision == "int8" else "onnx")
    weights = bundle.artifact(INT8_WEIGHTS) if setup.precision == "int8" else None
    try:
        return OpenVinoEngine(_read_ir(path, weights) if weights else read_onnx(str(path)), setup)
    except Exception as error:
        # The reader's exceptions share no public base class.
        reason = one_line(error)
        raise BundleError(f"OpenVINO cannot read {path}: {reason}") from None


def _read_ir(path: Path, weights: Path) -> ov.Model:
    """Read a graph and its weights in OpenVINO's own format."""
    return core().read_model(path, weights)
