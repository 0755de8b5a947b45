"""What a graph computes between its input and its logits, on real images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import onnx

from fleetnet.inference.engines import Pixels, Setup, available_threads
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine

BATCH = 8


def values_of(
    graph: onnx.ModelProto, names: Iterable[str], pixels: Pixels
) -> Iterator[tuple[dict[str, npt.NDArray[np.float32]], int]]:
    """Yield values of a graph by their names, and of how many images they are.

    Args:
        graph: in fp32.
        names: of values, which it need not give.
        pixels: real images, ``uint8[N, crop, crop, 3]``.
    """
    wanted = sorted(names)
    tapped = onnx.ModelProto()
    tapped.CopyFrom(graph)
    del tapped.graph.output[:]
    tapped.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in wanted)
    content = tapped.SerializeToString()
    with OnnxRuntimeEngine(content, Setup("fp32", available_threads())) as engine:
        for start in range(0, len(pixels), BATCH):
            batch = np.ascontiguousarray(pixels[start : start + BATCH])
            yield engine.outputs(batch), len(batch)
