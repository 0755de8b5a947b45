"""The exported graph for one fixed batch size, for runtimes that need one.

TensorRT and the compilers of most accelerators plan memory and kernels for known shapes, and some
refuse a free dimension. Only the first dimension of the graph's inputs and outputs changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx

from fleetnet.bundle import ONNX_METADATA_KEY, Bundle, Manifest
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import GraphEngine, Logits, Pixels
from fleetnet.inference.engines.closing import Closing

MAX_BATCH = 4096


def check_batch(batch: int) -> None:
    """Refuse an impossible batch size.

    Raises:
        FleetnetError: ``batch`` is out of range.
    """
    if not 1 <= batch <= MAX_BATCH:
        raise FleetnetError(f"a fixed batch of {batch} images: it must be from 1 to {MAX_BATCH}")


def file_name(batch: int | None) -> str:
    """Return what the file of a graph is called; None for one that takes any batch."""
    return f"model.batch{batch}.onnx" if batch else "model.onnx"


def graph_of(bundle: Bundle, batch: int | None) -> bytes:
    """Return a bundle's ONNX file in fp32, for batches of one size, or of any if that is None.

    Raises:
        BundleError: it is missing or damaged.
        FleetnetError: ``batch`` is out of range.
    """
    graph = bundle.content(format="onnx").data
    return fix_batch(graph, batch) if batch else graph


def fix_batch(graph: bytes, batch: int) -> bytes:
    """Return an exported ONNX file that takes exactly ``batch`` images.

    Args:
        graph: as :func:`fleetnet.export.onnx.to_onnx` returns it.
        batch: from 1 to :data:`MAX_BATCH`.

    Raises:
        FleetnetError: ``batch`` is out of range.
    """
    check_batch(batch)
    model = onnx.load_from_string(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    for entry in model.metadata_props:
        if entry.key == ONNX_METADATA_KEY:
            entry.value = _with_batch(Manifest.from_json(entry.value, "the graph"), batch).to_json()
    # Inferring shapes again finds graphs that mix images or rely on a free dimension.
    fixed = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(fixed, full_check=True)
    content: bytes = fixed.SerializeToString()
    return content


def _with_batch(manifest: Manifest, batch: int) -> Manifest:
    def fix(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (batch, *shape[1:])

    inputs = manifest.input.model_copy(update={"shape": fix(manifest.input.shape)})
    outputs = tuple(
        output.model_copy(update={"shape": fix(output.shape)}) for output in manifest.outputs
    )
    return manifest.model_copy(update={"input": inputs, "outputs": outputs})


def whole_batches(pixels: Pixels, batch: int) -> Iterator[Pixels]:
    """Yield images ``batch`` at a time; what the last batch lacks is filled with its last image."""
    places = np.arange(-(-len(pixels) // batch) * batch).clip(max=len(pixels) - 1)
    for part in places.reshape(-1, batch):
        yield pixels[part]


class InWholeBatches(Closing[GraphEngine]):
    """Runs any number of images on an engine whose graph takes one batch size.

    The last batch is filled up with its last image.
    """

    def __init__(self, engine: GraphEngine, batch: int) -> None:
        super().__init__(engine)
        self._batch = batch
        self.name = engine.name
        self.precision = engine.precision
        self.device = engine.device
        self.threads = engine.threads
        self.version = engine.version

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        return self.outputs(pixels)["logits"]

    def outputs(self, pixels: Pixels) -> dict[str, Logits]:
        """Return every output of the graph by name."""
        engine = self._taken()
        parts = [engine.outputs(part) for part in whole_batches(pixels, self._batch)]
        return {
            name: np.concatenate([part[name] for part in parts])[: len(pixels)] for name in parts[0]
        }

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, one after the other."""
        yield from map(self.run, batches)

    def close(self) -> None:
        """Close the engine."""
        if self._loaded is not None:
            self._loaded.close()
        super().close()
