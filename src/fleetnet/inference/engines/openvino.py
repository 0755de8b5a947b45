"""OpenVINO, the default: the fastest on x86 and Arm processors; also on Intel's GPUs and NPUs."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, one_line
from fleetnet.inference.engines.closing import Closing
from fleetnet.inference.engines.engine import CPU, Logits, Pixels, Precision, Setup
from fleetnet.inference.engines.fitting import check_graph, said_in_one_line
from fleetnet.inference.engines.kind import EngineKind, Takes
from fleetnet.inference.engines.runtime import Runtime
from fleetnet.threads import in_order

if TYPE_CHECKING:
    import openvino as ov
    from openvino import frontend, properties
else:
    ov = Runtime("openvino")
    properties = Runtime("openvino.properties")
    frontend = Runtime("openvino.frontend")

KEPT = 4
_CAPABILITIES: dict[Precision, str] = {
    precision: precision.upper() for precision in get_args(Precision)
}


class _Caller:
    """The one thread that computes by itself, the first that asks.

    That is fastest for a single answer. But OpenVINO keeps memory for ever, some kilobytes for each
    call, if several threads do so with a stream of several threads; all others therefore let the
    stream's own thread compute. Streams of one thread keep nothing.
    """

    def __init__(self, setup: Setup) -> None:
        self._several = setup.threads > setup.in_flight
        self._first: list[int] = []

    def computes(self) -> bool:
        """Tell whether the calling thread computes by itself."""
        if not self._several:
            return True
        here = threading.get_ident()
        if not self._first:
            self._first.append(here)
        # Of several that came at the same time, one is at the front.
        return self._first[0] == here


class _Compiled:
    """A graph compiled for one batch size, and its unused infer requests.

    A request belongs to one call at a time. It holds only inputs and outputs, a few kilobytes: the
    activations belong to the streams, whose number also limits how many requests are computed at
    once. So a call that finds no unused request makes a new one, and some are kept.
    """

    def __init__(self, compiled: ov.CompiledModel, kept: int) -> None:
        self._compiled = compiled
        self._unused: deque[ov.InferRequest] = deque(maxlen=kept)

    def request(self) -> ov.InferRequest:
        """Return a request that no other call uses."""
        try:
            return self._unused.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def give_back(self, request: ov.InferRequest) -> None:
        """Take back a request that is done and whose answers were copied."""
        self._unused.append(request)


class OpenVinoGraph:
    """A graph, compiled for each batch size on its first use; :data:`KEPT` of them are kept.

    The least recently used one is dropped. Calls that still compute with it keep it until then.
    """

    def __init__(self, model: ov.Model, setup: Setup) -> None:
        self._model = model
        # One more than are computed at once, see run_all.
        self._requests = setup.in_flight + 1
        self._device = setup.device.upper()
        self._options = _options(setup)
        self._kept: dict[int, _Compiled] = {}
        self._lock = threading.Lock()
        self._compiling = threading.Lock()
        self.caller = _Caller(setup)

    def of_batch(self, size: int) -> _Compiled:
        """Return the graph for this batch size; it is compiled once, however many threads ask."""
        found = self._known(size)
        if found is None:
            # A separate lock, so that other batch sizes are still computed.
            with self._compiling:
                found = self._known(size) or self._compile(size)
        return found

    def _known(self, size: int) -> _Compiled | None:
        with self._lock:
            found = self._kept.pop(size, None)
            if found is not None:
                self._kept[size] = found  # now the most recently used
            return found

    def _compile(self, size: int) -> _Compiled:
        model = self._model.clone()
        _, *rest = model.input(0).partial_shape
        model.reshape(ov.PartialShape([size, *rest]))
        made = _Compiled(core().compile_model(model, self._device, self._options), self._requests)
        with self._lock:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[size] = made
        return made


class OpenVinoEngine(Closing[OpenVinoGraph]):
    """A graph compiled by OpenVINO for a device.

    Shapes are static for speed: each batch size is compiled on its first use, and the :data:`KEPT`
    most recently used are kept.
    """

    name = "openvino"

    def __init__(self, model: ov.Model, setup: Setup) -> None:
        self.version: str = ov.__version__.partition("-")[0]
        self.precision = setup.precision
        self.device = setup.device
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
        """Return every output of the graph by name.

        Raises:
            FleetnetError: OpenVINO cannot compute the network, or the engine is closed.
        """
        graph = self._taken()
        with said_in_one_line(self):
            return _outputs(graph, pixels)

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, in order; in throughput mode several at a time."""
        graph = self._taken()
        if self._in_flight == 1:
            for batch in batches:
                with said_in_one_line(self):
                    logits = _outputs(graph, batch)["logits"]
                yield logits
            return
        # One more than are computed, so that no stream waits for the caller's next batch.
        yield from in_order(batches, partial(self._start, graph), ahead=self._in_flight)

    def _start(self, graph: OpenVinoGraph, pixels: Pixels) -> Callable[[], Logits]:
        """Start computing a batch, and return a function that waits for its logits."""
        with said_in_one_line(self):
            answer = _start(graph, pixels)

        def said() -> Logits:
            with said_in_one_line(self):
                return answer()

        return said


def _outputs(graph: OpenVinoGraph, pixels: Pixels) -> dict[str, Logits]:
    """Compute a batch, in the calling thread or in the stream's; see :class:`_Caller`."""
    compiled = graph.of_batch(len(pixels))
    request = compiled.request()
    pixels = np.ascontiguousarray(pixels)
    if graph.caller.computes():
        # By default, OpenVINO copies what it returns.
        results = request.infer(pixels, share_inputs=True)
    else:
        request.start_async(pixels, share_inputs=True)
        request.wait()
        results = request.results
    compiled.give_back(request)
    return {output.any_name: value for output, value in results.items()}


def _start(graph: OpenVinoGraph, pixels: Pixels) -> Callable[[], Logits]:
    """Start computing a batch, and return a function that waits for its logits."""
    compiled = graph.of_batch(len(pixels))
    request = compiled.request()
    request.start_async(np.ascontiguousarray(pixels), share_inputs=True)

    def answer() -> Logits:
        request.wait()
        logits = np.array(request.get_tensor("logits").data, np.float32)
        compiled.give_back(request)
        return logits

    return answer


def _options(setup: Setup) -> dict[str, Any]:
    modes = properties.hint.PerformanceMode
    options = {
        properties.hint.performance_mode: getattr(modes, setup.mode.upper()),
        # By default, OpenVINO would use bf16 on processors that have it.
        properties.hint.inference_precision: _inference_precision(setup),
        properties.inference_num_threads: setup.threads,
        properties.num_streams: setup.in_flight,
    }
    if setup.device == CPU:
        return options
    # Threads are a setting of the processor only; other devices take some of the other settings.
    taken = core().get_property(setup.device.upper(), properties.supported_properties)
    return {name: value for name, value in options.items() if name in taken}


def _inference_precision(setup: Setup) -> ov.Type:
    """Return the precision of the layers that the graph does not quantise.

    Around int8 layers that is bf16, if the processor has it. Quantisation compares the int8 network
    as it is computed here, so the layers that it keeps out of int8 may be in bf16, which is faster
    than fp32. Devices other than the processor have fp16.
    """
    types = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16}
    if setup.precision != "int8":
        return types[setup.precision]
    fewer = "bf16" if setup.device == CPU else "fp16"
    return types[fewer if fewer in native(setup.device) else "fp32"]


def devices() -> tuple[str, ...]:
    """Return the devices that OpenVINO has a plugin and a driver for."""
    return tuple(name.lower() for name in core().available_devices)


def native(device: str) -> set[Precision]:
    """Return the precisions that a device is built for; a processor computes in fp32 and int8."""
    able = core().get_property(device.upper(), properties.device.capabilities)
    found = {precision for precision, name in _CAPABILITIES.items() if name in able}
    return found | {"fp32", "int8"} if device == CPU else found


_one_at_a_time = threading.Lock()


def core() -> ov.Core:
    """Return the process's one core.

    OpenVINO's CPU plugin replaces the thread's signal stack and restores the former one when its
    core is destroyed. If a second core was made in the meantime, the first core's stack is restored
    although it is freed, and the next signal, such as that of a child process that ends, kills the
    process.

    OpenVINO also learns about NumPy when it first needs to, and two threads that come to that at
    the same time wait for each other for ever, one with Python's lock and one without.
    """
    # With only a cache, two threads could make one each.
    with _one_at_a_time:
        return _core()


@cache
def _core() -> ov.Core:
    ov.Type.u8.to_dtype()
    return ov.Core()


def read_onnx(onnx: bytes | str) -> ov.Model:
    """Read an ONNX graph from a file or from bytes, with only the ONNX reader.

    ``Core.read_model`` gives a file that is no ONNX graph to the readers of all other formats in
    turn. Hostile bytes should reach only one parser.
    """
    reader = frontend.FrontEndManager().load_by_framework("onnx")
    return reader.convert(reader.load(io.BytesIO(onnx) if isinstance(onnx, bytes) else onnx))


def open(bundle: Bundle, setup: Setup) -> OpenVinoEngine:  # noqa: A001 - fleetnet...openvino.open
    """Compile the bundle's graph.

    Raises:
        BundleError: a file is absent, damaged, or no graph that OpenVINO reads.
        FleetnetError: the device does not work.
    """
    wanted = ENGINE.takes[setup.precision]
    contents = bundle.contents(format=wanted.format, precision=wanted.precision)
    path, graph = contents[0]
    # Without weights, OpenVINO would look for a file itself, whose hash was not checked.
    if len(contents) != (1 if wanted.format == "onnx" else 2):
        raise BundleError(f"{path}: its weights are not in the manifest; export the bundle anew")
    try:
        if wanted.format == "onnx":
            model = read_onnx(graph)
        else:
            model = core().read_model(graph, contents[1].data)
        names = [name for output in model.outputs for name in output.names]
        inputs = len(model.inputs)
        check_graph(bundle, path, inputs, _fixed_part(model) if inputs == 1 else [], names)
        engine = OpenVinoEngine(model, setup)
    except BundleError:
        raise
    except Exception as error:
        # The reader's exceptions share no public base class.
        reason = one_line(error)
        raise BundleError(f"OpenVINO cannot read {path}: {reason}") from None
    if setup.device != CPU:
        _try_out(engine, bundle)
    return engine


def _fixed_part(model: ov.Model) -> list[object]:
    """Return the shape of the input without the batch; None for a free dimension."""
    _, *rest = model.input(0).partial_shape
    return [None if dimension.is_dynamic else dimension.get_length() for dimension in rest]


def _try_out(engine: OpenVinoEngine, bundle: Bundle) -> None:
    """Compute one image, because a device that is found may still not work.

    Raises:
        FleetnetError: it does not work.
    """
    side = bundle.manifest.preprocess.crop
    engine.run(np.zeros((1, side, side, 3), np.uint8))


ENGINE = EngineKind(
    name=OpenVinoEngine.name,
    needs="openvino",
    title="openvino",
    takes={
        "fp32": Takes("onnx"),
        "bf16": Takes("onnx"),
        "fp16": Takes("onnx"),
        "int8": Takes("openvino-ir", "int8"),
    },
    open=open,
    devices=devices,
    native=native,
    of_graph=OpenVinoEngine.of_onnx,
)
