"""RKNN: the neural processors of Rockchip's chips, on boards with Linux."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.native_program import built, program
from fleetnet.export.python_program import program as in_python
from fleetnet.export.separate import Environment, Worker
from fleetnet.export.separate import convert as converted
from fleetnet.export.targets.target import (
    Files,
    Int8,
    Quantize,
    Run,
    Target,
    as_npy,
    only_one_image,
)
from fleetnet.inference.engines import Pixels

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

ENVIRONMENT = Environment("rknn", megabytes=1300)
CHIPS = ("rk3588", "rk3576", "rk3568", "rk3566", "rk3562")
"""Those whose runtime takes a picture's bytes and has a package for Python; the first is usual."""
FILE, GRAPH = "model.rknn", "model.onnx"
PARTS = ("model.model", "model.data", "model.quantization.cfg")
"""What a quantisation goes on from, as the scripts name it."""
_KEEP = b"custom_quantize_layers: {}"
_TAKES = """\
`uint8[1, {crop}, {crop}, 3]`, RGB, which is `RKNN_TENSOR_UINT8` in `RKNN_TENSOR_NHWC`; no mean and
no scale is left to set"""
_HOW = (
    """\
`model.rknn` is for the chip {chip}: `fleetnet export --to rknn --chip` makes it for another one.
The input is `pixels`, the output `logits`. On the board, in Python (`pip install rknn-toolkit-lite2
fleetnet`), in this folder:

"""
    + in_python(
        "from rknnlite.api import RKNNLite",
        """\
        network = RKNNLite()
        if network.load_rknn("model.rknn") != 0 or network.init_runtime() != 0:
            raise SystemExit("the NPU does not take model.rknn")
        logits = np.array(network.inference(inputs=[pixels], data_format=["nhwc"])[0])
        network.release()""",
    )
    + """

In C and C++ it is `rknn_api.h` of Rockchip's runtime (`librknnrt.so`, which the board's system
has): `network.cpp` sets one input of these bytes and gets one output of numbers (`want_float`).

"""
    + built(
        "`rknn_api.h` and `librknnrt.so` (in `include` and `lib`) in a folder PREFIX, on the board"
    )
    + """

No board was at hand where this was made: the figures below are those of the simulator of
RKNN-Toolkit2 on x86, which imitates the chip, and takes no `.rknn` file but the network
that it was made of. Its times say nothing of a board's. Without int8, the chip computes with 16
bits."""
)


@dataclass(frozen=True)
class Built(Mapping[str, bytes]):
    """Files for a chip, with what the simulator needs to build the same network once more."""

    files: Mapping[str, bytes]
    sources: Mapping[str, bytes]

    def __getitem__(self, name: str) -> bytes:
        return self.files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class _Chip:
    """What converts for one chip."""

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        return {"chip": self.name}

    def convert(self, bundle: Bundle, _precision: str, batch: int | None) -> Files:
        """Convert the plain graph; the chip computes with 16 bits."""
        return self.build({GRAPH: _graph(bundle, batch)})

    def build(self, sources: Files) -> Built:
        """Make the file of a graph, or of the parts of a quantisation."""
        return Built(
            converted(ENVIRONMENT, "rknn_convert", sources, (FILE,), self.settings), sources
        )

    def calibrate(
        self, bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
    ) -> Quantize:
        """Measure the ranges once, by RKNN-Toolkit2; kept layers are computed with 16 bits."""
        # Here, so that targets can be listed where onnx is not installed.
        from fleetnet.export.plain_layers import tensors_of

        graph = _graph(bundle, batch)
        tensors = tensors_of(graph, layers)
        given = {GRAPH: graph, "images.npy": as_npy(pixels)}
        parts = converted(ENVIRONMENT, "rknn_calibrate", given, PARTS, self.settings)

        def quantize(kept: Sequence[str]) -> Files:
            names = [tensor for layer in kept for tensor in tensors[layer]]
            return self.build({**parts, PARTS[2]: kept_in(parts[PARTS[2]], names)})

        return quantize

    def load(self, files: Files) -> Run:
        """Run what files were made of in the simulator.

        Raises:
            FleetnetError: they were not made just now.
        """
        if not isinstance(files, Built):
            raise FleetnetError(
                "RKNN's simulator runs what was just converted, and no .rknn file: export it anew"
            )
        return Worker(ENVIRONMENT, "rknn_run", files.sources, self.settings)


def kept_in(config: bytes, tensors: Sequence[str]) -> bytes:
    """Return the tool's list of tensors with those that are computed with 16 bits.

    Some of the graph's are no longer there: the tool writes operators in another way, and names
    their results by the old name with something behind it.

    Raises:
        FleetnetError: the tool writes its list in another way.
    """
    if config.count(_KEEP) != 1:
        raise FleetnetError("RKNN-Toolkit2 wrote a quantisation that is not understood")
    if not tensors:
        return config
    listed = re.findall(r"^    (\S+):$", config.decode(), re.MULTILINE)
    # Not what turns the last one back into numbers, which is named so too.
    named = rf"(?:{'|'.join(map(re.escape, tensors))})(?:_(?!int8)[^/]*)?"
    kept = [name for name in listed if re.fullmatch(named, name)]
    lines = "".join(f"\n    {name}: float16" for name in kept)
    return config.replace(_KEEP, _KEEP.removesuffix(b" {}") + lines.encode())


def _graph(bundle: Bundle, batch: int | None) -> bytes:
    only_one_image(batch, "RKNN")
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.plain_onnx import plain_graph

    return plain_graph(bundle, 1)


def _on(chip: str) -> Target:
    made = _Chip(chip)
    return Target(
        name="rknn",
        title="RKNN",
        format="rknn",
        precisions=("fp16", "int8"),
        package="rknn-toolkit2",
        command="",
        convert=made.convert,
        load=made.load,
        needs={"torch": "fleetnet[export]"},
        environment=ENVIRONMENT,
        made_by=("rknn-toolkit2",),
        one_size=True,
        simulated=True,
        int8=Int8("rknn-toolkit2", made.calibrate),
        beside=program("rknn"),
        how=_HOW.replace("{chip}", chip),
        takes=_TAKES,
        chips=CHIPS,
        chip=chip,
    )


TARGET = replace(_on(CHIPS[0]), on_chip=_on)
