"""The machine's peak rate of arithmetic, measured by matrix products."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from fleetnet.inference.engines import Precision
from fleetnet.inference.engines.openvino import core
from fleetnet.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13, properties

SIDES = (512, 1024, 2048)
"""Small ones fit the caches, large ones keep all threads busy; which is faster differs."""
_TYPES = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16, "int8": ov.Type.f32}
_CAPABILITIES = {"bf16": "BF16", "fp16": "FP16"}
_NUMPY = """
import json
import numpy as np
from fleetnet.measuring import time_runs
best = 0.0
for side in {sides}:
    a = np.random.default_rng(0).random((side, side), np.float32)
    best = max(best, 2 * side**3 / min(time_runs(lambda: a @ a, {runs})))
print(json.dumps(best))
"""


def has_peak(precision: Precision) -> bool:
    """Tell whether this processor multiplies numbers of ``precision`` in hardware."""
    wanted = _CAPABILITIES.get(precision)
    return wanted is None or wanted in core().get_property("CPU", properties.device.capabilities)


def operations(side: int) -> int:
    """Return the floating-point operations of a product of two square matrices, 2·side³."""
    return 2 * side**3


def matrix_product(side: int, precision: Precision, threads: int) -> Callable[[], object]:
    """Return a function that multiplies two ``side``×``side`` matrices, compiled by OpenVINO.

    The second matrix is a constant, as weights are. With int8 both are quantised, to 256 and 255
    levels, as post-training quantisation does. The second one uses only half of its levels:
    processors without VNNI add two products in 16 bits, where larger ones would overflow.
    """
    options = {
        properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
        properties.hint.inference_precision: _TYPES[precision],
        properties.inference_num_threads: threads,
        properties.num_streams: 1,
    }
    request = core().compile_model(_graph(side, precision), "CPU", options).create_infer_request()
    values = np.random.default_rng(1).uniform(-1, 1, (side, side)).astype(np.float32)
    request.set_input_tensor(ov.Tensor(values, shared_memory=False))  # a copy that it owns
    run: Callable[[], object] = request.infer
    return run


def _graph(side: int, precision: Precision) -> ov.Model:
    weights = np.random.default_rng(0).uniform(-1, 1, (side, side)).astype(np.float32)
    given = opset13.parameter([side, side], ov.Type.f32, name="given")
    left, right = given, opset13.constant(weights)
    if precision == "int8":
        low, high = opset13.constant(np.float32(-1)), opset13.constant(np.float32(1))
        left = opset13.fake_quantize(left, low, high, low, high, 256)
        low, high = opset13.constant(np.float32(-2)), opset13.constant(np.float32(2))
        right = opset13.fake_quantize(right, low, high, low, high, 255)
    return ov.Model([opset13.matmul(left, right, False, True)], [given], "product")


def numpy_peak(threads: int, runs: int = 10) -> float | None:
    """Return the fp32 FLOP/s of NumPy's matrix product, None where it fails.

    In a process of its own, because NumPy's library reads the number of threads when it loads.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", _NUMPY.format(sides=SIDES, runs=runs)],
        env={**os.environ, **dict.fromkeys(names, str(threads))},
        capture_output=True,
        text=True,
        check=False,
    )
    return float(json.loads(done.stdout)) if done.returncode == 0 else None
