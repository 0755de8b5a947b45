"""Time variants of the exported graph against the graph before them, in interleaved rounds.

    python benchmarks/graph/compare.py [NETWORK ...] [--variants NAME ...] [--engines NAME ...]
        [--rounds 60] [--json FILE]

Batch 1, one thread on one processor. The figures are processor time, which other programs on the
machine affect less than wall-clock time, and with one thread it is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch
from onnxscript import ir
from torch import nn
from variants import CEILINGS, VARIANTS, build

from fleetnet.export.onnx import trace
from fleetnet.inference.comparison import machine
from fleetnet.inference.engines import Engine, Logits, Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.inference.engines.openvino import OpenVinoEngine
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.measuring import ratios, time_in_rounds
from fleetnet.models import build_model
from fleetnet.models.base import Network
from fleetnet.preprocess import Preprocess

NETWORKS = ["MobileNetV2_x0_25", "mobilenetv2_100", "MobileNetV2", "ReXNet_1_0", "ReXNet_1_3"]
ENGINES: dict[str, Callable[[bytes], Engine]] = {
    "onnxruntime-fp32": lambda graph: OnnxRuntimeEngine(graph, Setup()),
    "openvino-fp32": lambda graph: OpenVinoEngine.of_onnx(graph, Setup()),
    "openvino-bf16": lambda graph: OpenVinoEngine.of_onnx(graph, Setup(precision="bf16")),
}
DEFAULT = ["centred", "padded-8", "shortcut", "export"]
TOLERANCE = 1e-4
"""Largest difference from PyTorch's logits in fp32, as a share of their size."""


def main() -> None:
    """Export, check, time and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=DEFAULT)
    parser.add_argument("--all", action="store_true", help="every variant")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    names = list(VARIANTS) if options.all else ["before", *options.variants]
    print(
        f"{machine()}, ONNX Runtime {onnxruntime.__version__}, OpenVINO "
        f"{openvino.__version__.partition('-')[0]}; batch 1, one thread, {options.rounds} rounds "
        "in turns. Milliseconds: median (first to ninth decile) of processor time; ratio: median "
        "(quartiles) of the ratios to `before` within a round; difference: from PyTorch's logits, "
        "root mean square as a share of theirs.\n"
    )
    print("| network | engine | variant | ms | ratio | ONNX file | difference |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    results = [row for name in options.networks for row in compare(name, names, options)]
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def compare(name: str, variants: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time a network's variants in every engine, and print a row for each."""
    network, preprocess = randomised(name), Preprocess()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    expected = TorchEngine(network, preprocess).run(pixels)
    graphs = {key: onnx_of(build(key, network, preprocess)) for key in dict.fromkeys(variants)}
    rows = []
    for engine_name in options.engines:
        engines = {key: ENGINES[engine_name](graph) for key, graph in graphs.items()}
        differences = {
            key: root_mean_square(engine.run(pixels) - expected) / root_mean_square(expected)
            for key, engine in engines.items()
        }
        for key, difference in differences.items():
            if key not in CEILINGS and "fp32" in engine_name and not difference <= TOLERANCE:
                sys.exit(f"error: {key} of {name} answers otherwise in {engine_name}: {difference}")
        work = {key: partial(engine.run, pixels) for key, engine in engines.items()}
        # A run before each brings the weights back into the cache, as when no other network runs.
        seconds = time_in_rounds(
            work, options.rounds, warm_up=0, before_each=1, clock=time.process_time
        )
        for engine in engines.values():
            engine.close()
        for key, values in seconds.items():
            row = {
                "network": name,
                "engine": engine_name,
                "variant": key,
                "bytes": len(graphs[key]),
                "difference": differences[key],
                "seconds": values,
                "ratios": ratios(values, seconds["before"]),
            }
            rows.append(row)
            print(line(row), flush=True)
    return rows


def randomised(name: str) -> Network:
    """Build a network with batch-norm statistics as training leaves them, not zeros and ones."""
    torch.manual_seed(0)
    network = build_model(name)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


def root_mean_square(values: Logits) -> float:
    """Return the root mean square, which no single value decides."""
    return float(np.sqrt(np.square(values).mean()))


def onnx_of(graph: nn.Module) -> bytes:
    """Export a variant."""
    content: bytes = ir.to_proto(trace(graph, Preprocess().crop)).SerializeToString()
    return content


def line(row: dict[str, Any]) -> str:
    """Format one row of the table."""
    deciles = [value * 1000 for value in statistics.quantiles(row["seconds"], n=10)]
    low, median, high = statistics.quantiles(row["ratios"], n=4)
    note = " (another network)" if row["variant"] in CEILINGS else ""
    return (
        f"| `{row['network']}` | {row['engine']} | {row['variant']}{note} "
        f"| {deciles[4]:.2f} ({deciles[0]:.2f}–{deciles[8]:.2f}) "
        f"| {median:.3f} ({low:.3f}–{high:.3f}) | {row['bytes'] / 1e6:.2f} MB "
        f"| {row['difference']:.1e} |"
    )


if __name__ == "__main__":
    main()
