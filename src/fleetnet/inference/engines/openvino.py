"""OpenVINO, the default: the fastest on x86 and Arm processors."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, one_line
from fleetnet.inference.engines import Logits, Pixels, Precision, Setup
from fleetnet.inference.engines.closing import Closing
from fleetnet.telemetry import without_telemetry
from fleetnet.threads import in_order

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


class _Compiled:
    """A graph compiled for one batch size, and requests to it that nobody uses.

    A request belongs to one call at a time. It has but its inputs and outputs for itself, a few
    kilobytes, because the activations are the streams', which also decide how many requests are
    computed at once; so whoever finds none unused gets a new one, and some are kept.
    """

    def __init__(self, compiled: ov.CompiledModel, kept: int) -> None:
        self._compiled = compiled
        self._unused: deque[ov.InferRequest] = deque(maxlen=kept)

    def request(self) -> ov.InferRequest:
        """Return one for the caller alone."""
        try:
            return self._unused.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def give_back(self, request: ov.InferRequest) -> None:
        """Take back a request that is done and whose answers were copied."""
        self._unused.append(request)


class OpenVinoGraph:
    """A graph, compiled for each batch size when that first comes; :data:`KEPT` of them are kept.

    The one not used for longest goes. Whoever still computes with it keeps it until that is done.
    """

    def __init__(self, model: ov.Model, setup: Setup) -> None:
        self._model = model
        # One more than are computed, see run_all.
        self._requests = setup.in_flight + 1
        self._options = {
            properties.hint.performance_mode: _MODES[setup.mode],
            # On processors with bf16 OpenVINO would use it unasked.
            properties.hint.inference_precision: _where_the_graph_does_not_say(setup.precision),
            properties.inference_num_threads: setup.threads,
            properties.num_streams: setup.in_flight,
        }
        self._kept: dict[int, _Compiled] = {}
        self._lock = threading.Lock()
        self._compiling = threading.Lock()

    def of_batch(self, size: int) -> _Compiled:
        """Return the graph for this size of batch, compiled once whoever asks meanwhile."""
        found = self._known(size)
        if found is None:
            # A lock of its own, so that other sizes go on being computed.
            with self._compiling:
                found = self._known(size) or self._compile(size)
        return found

    def _known(self, size: int) -> _Compiled | None:
        with self._lock:
            found = self._kept.pop(size, None)
            if found is not None:
                self._kept[size] = found  # now the last of them
            return found

    def _compile(self, size: int) -> _Compiled:
        model = self._model.clone()
        _, *rest = model.input(0).partial_shape
        model.reshape(ov.PartialShape([size, *rest]))
        made = _Compiled(core().compile_model(model, "CPU", self._options), self._requests)
        with self._lock:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[size] = made
        return made


class OpenVinoEngine(Closing[OpenVinoGraph]):
    """A graph compiled by OpenVINO for the CPU.

    Shapes are static for speed: each batch size is compiled when it first comes, and the
    :data:`KEPT` used last are kept.
    """

    name = "openvino"
    version = ov.__version__.partition("-")[0]

    def __init__(self, model: ov.Model, setup: Setup) -> None:
        self.precision = setup.precision
        self.threads = setup.threads
        self._in_flight = setup.in_flight
        super().__init__(OpenVinoGraph(model, setup))

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
        return _outputs(self._taken(), pixels)

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, in order; in throughput mode side by side."""
        graph = self._taken()
        if self._in_flight == 1:
            for batch in batches:
                yield _outputs(graph, batch)["logits"]
            return
        # One more than are computed, so that none waits for the caller to bring the next.
        yield from in_order(batches, partial(_start, graph), ahead=self._in_flight)


def _outputs(graph: OpenVinoGraph, pixels: Pixels) -> dict[str, Logits]:
    """Compute a batch, in the calling thread, which is the quickest for one."""
    compiled = graph.of_batch(len(pixels))
    request = compiled.request()
    # OpenVINO copies what it returns, unless told.
    results = request.infer(np.ascontiguousarray(pixels), share_inputs=True)
    compiled.give_back(request)
    return {output.any_name: value for output, value in results.items()}


def _start(graph: OpenVinoGraph, pixels: Pixels) -> Callable[[], Logits]:
    """Have a batch computed, and return what waits for its logits."""
    compiled = graph.of_batch(len(pixels))
    request = compiled.request()
    request.start_async(np.ascontiguousarray(pixels), share_inputs=True)

    def answer() -> Logits:
        request.wait()
        logits = np.array(request.get_tensor("logits").data, np.float32)
        compiled.give_back(request)
        return logits

    return answer


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


_one_at_a_time = threading.Lock()


def core() -> ov.Core:
    """Return the process's one core.

    OpenVINO's CPU plugin puts a signal stack of its own in place of the thread's and restores the
    former one when its core goes. Where a second core was made meanwhile, the first one's stack is
    restored although it is freed, and the next signal, such as that of a child process which ends,
    kills the process.
    """
    # A cache alone would let two threads make one each.
    with _one_at_a_time:
        return _core()


@cache
def _core() -> ov.Core:
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
