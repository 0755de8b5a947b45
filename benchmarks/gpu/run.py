"""Our networks on an NVIDIA GPU, beside timm's and the documents' V100 rows.

    python benchmarks/gpu/run.py [NETWORK ...] [--rounds 30] [--output FOLDER] [--no-compile]

Runs wherever PyTorch with CUDA is installed; timm is measured beside ours where it is installed.
Both are made ready alike: fp16, channels last, batch norm folded by the compiler, compiled by
torch.compile, and each batch size captured in a CUDA graph, normalisation of uint8 pixels included.
Two times are given: "device", only of the graph, as TensorRT's figures usually are; and "host",
from pixels in memory to logits in memory. Networks are timed in interleaved rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fleetnet.benchmark.measure import Limits, time_in_turns
from fleetnet.benchmark.networks import published_names
from fleetnet.benchmark.untrained import untrained_network
from fleetnet.bundle import self_test_pixels
from fleetnet.errors import FleetnetError
from fleetnet.files import atomic_file
from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.registry import find_name, published
from fleetnet.preprocess import Preprocess

BATCHES = (1, 4, 8)
SIZE = 224
PEERS = {
    "MobileNetV2_x0_5": "mobilenetv2_050",
    "MobileNetV2": "mobilenetv2_100",
    "ReXNet_1_0": "rexnet_100",
    "ReXNet_1_3": "rexnet_130",
    "ReXNet_1_5": "rexnet_150",
    "ReXNet_2_0": "rexnet_200",
    "ReXNet_3_0": "rexnet_300",
}
"""Our name to timm's of the same network, or of the same width with channels rounded to 8."""
REPLAYS = 20
"""Replays of a graph in one timed run of the device: starting a single one would dominate."""


class Row(NamedTuple):
    """One line of the table: milliseconds by batch."""

    network: str
    what: str
    device: tuple[float, ...]
    host: tuple[float, ...]


class Normalised(nn.Module):
    """A network behind the normalisation of ``uint8[N, H, W, 3]``."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        scale, shift = Preprocess().normalisation()
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("shift", torch.from_numpy(shift))
        self.network = network.to(dtype=dtype, memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits, ``float32[N, K]``."""
        normalised = (pixels.float() * self.scale + self.shift).to(self.dtype)
        logits: Tensor = self.network(normalised.permute(0, 3, 1, 2))
        return logits.float()


class Captured:
    """A network compiled and captured in a CUDA graph for one batch size."""

    def __init__(self, network: nn.Module, batch: int, device: torch.device, *, compiled: bool):
        ready = Normalised(network, torch.float16).to(device).eval().requires_grad_(False)
        # CUDA graphs are captured here, for both alike, rather than left to the compiler.
        forward: Callable[[Tensor], Tensor] = (
            torch.compile(ready, dynamic=False, mode="max-autotune-no-cudagraphs")
            if compiled
            else ready
        )
        pixels = torch.from_numpy(self_test_pixels(batch, SIZE))
        self.pixels = pixels.pin_memory()
        self._given = pixels.to(device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):
                forward(self._given)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            self._logits = forward(self._given)
        self.logits = torch.empty(self._logits.shape, pin_memory=True)

    def device(self) -> None:
        """Run the network :data:`REPLAYS` times on what is on the device already."""
        for _ in range(REPLAYS):
            self._graph.replay()
        torch.cuda.synchronize()

    def host(self) -> Tensor:
        """Bring the pixels, run the network, fetch the logits."""
        self._given.copy_(self.pixels, non_blocking=True)
        self._graph.replay()
        self.logits.copy_(self._logits, non_blocking=True)
        torch.cuda.synchronize()
        return self.logits


def ours(name: str) -> nn.Module:
    """Return one of our networks with random weights, folded."""
    return fold_batch_norm(untrained_network(name))


def peer(name: str) -> nn.Module:
    """Return timm's network of the same kind, with weights as it starts."""
    import timm

    network: nn.Module = timm.create_model(name).eval()
    return network


def measure(
    name: str, device: torch.device, rounds: int, *, compiled: bool, with_timm: bool
) -> list[Row]:
    """Time one network and its peer at every batch size, in interleaved rounds."""
    torch.compiler.reset()  # or the compiler would give up after so many networks
    networks = {"Fleetnet": ours(name)}
    if with_timm and name in PEERS:
        networks[f"timm {PEERS[name]}"] = peer(PEERS[name])
    captured = {
        (what, batch): Captured(network, batch, device, compiled=compiled)
        for what, network in networks.items()
        for batch in BATCHES
    }
    work: dict[tuple[str, int, str], Callable[[], object]] = {}
    for (what, batch), one in captured.items():
        work[what, batch, "device"] = one.device
        work[what, batch, "host"] = one.host
    limits = Limits(budget=0.0, rounds=rounds, most_rounds=rounds, spell=0.01)
    timings = time_in_turns(work, limits)
    return [
        Row(
            name,
            what,
            tuple(timings[what, batch, "device"].p50 / REPLAYS * 1e3 for batch in BATCHES),
            tuple(timings[what, batch, "host"].p50 * 1e3 for batch in BATCHES),
        )
        for what in networks
    ]


def markdown(rows: Sequence[Row], about: str) -> str:
    """Return the rows as Markdown, each network's followed by the documents' of the V100."""
    batches = " | ".join(f"batch {batch}" for batch in BATCHES)
    hosts = " | ".join(f"host, {batch}" for batch in BATCHES)
    lines = [
        "# Latency on a GPU, ms",
        "",
        f"| network | what | {batches} | {hosts} |",
        "| --- | --- |" + " ---: |" * (2 * len(BATCHES)),
    ]
    figures = published()["models"]
    for name in dict.fromkeys(row.network for row in rows):
        for row in rows:
            if row.network == name:
                cells = " | ".join(f"{value:.3f}" for value in (*row.device, *row.host))
                lines.append(f"| `{name}` | {row.what} | {cells} |")
        if name in figures:
            cells = " | ".join(f"{value:.2f}" for value in figures[name]["v100_ms"])
            lines.append(f"| `{name}` | published, V100 | {cells} |{' – |' * len(BATCHES)}")
    notes = (
        "Fleetnet and timm: fp16, channels last, compiled, CUDA graphs, medians; the first three "
        "columns are the device's time, 'host' includes the copies of pixels and logits. V100: "
        "FP32 in TensorRT, as the documents publish it.",
        about,
    )
    return "\n".join([*lines, "", *(f"{note}  " for note in notes)]) + "\n"


def about(device: torch.device) -> str:
    """Return the device, the versions and the date, in a line."""
    properties = torch.cuda.get_device_properties(device)
    timm = importlib.util.find_spec("timm") is not None
    versions = [f"PyTorch {torch.__version__}", f"CUDA {torch.version.cuda}"]
    if timm:
        import timm as installed

        versions.append(f"timm {installed.__version__}")
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    return (
        f"{properties.name}, {memory}, {platform.system()}; {', '.join(versions)}, "
        f"Python {platform.python_version()}; {time.strftime('%Y-%m-%d', time.gmtime())}"
    )


def write(rows: Sequence[Row], text: str, said: str, folder: Path) -> None:
    """Write ``gpu.json`` and ``gpu.md``."""
    values: dict[str, Any] = {
        "format": "fleetnet-benchmark-gpu",
        "about": said,
        "batches": BATCHES,
        "rows": [row._asdict() for row in rows],
    }
    for file, content in (("gpu.json", json.dumps(values, indent=2) + "\n"), ("gpu.md", text)):
        with atomic_file(folder / file) as path:
            path.write_text(content, "utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print Markdown and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--no-compile", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1:
        sys.exit("error: --rounds must be at least 1")
    try:
        names = [find_name(name).name for name in chosen.networks] or published_names()
    except FleetnetError as error:
        sys.exit(f"error: {error}")
    if not torch.cuda.is_available():
        sys.exit(
            f"no CUDA device here: PyTorch {torch.__version__} sees none. Run this where there is "
            "one; 'fleetnet bench' measures on the processor"
        )
    device = torch.device("cuda")
    torch.backends.cudnn.benchmark = True
    with_timm = importlib.util.find_spec("timm") is not None
    rows: list[Row] = []
    for number, name in enumerate(names, 1):
        print(f"{name} ({number} of {len(names)})", file=sys.stderr, flush=True)
        rows += measure(
            name, device, chosen.rounds, compiled=not chosen.no_compile, with_timm=with_timm
        )
    said = about(device)
    text = markdown(rows, said)
    print(text)
    if chosen.output:
        write(rows, text, said, chosen.output)


if __name__ == "__main__":
    main()
