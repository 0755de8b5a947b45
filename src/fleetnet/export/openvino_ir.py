"""A graph of OpenVINO's as the contents of the two files of its own format."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fleetnet.inference.engines.runtime import Runtime

if TYPE_CHECKING:
    import openvino as ov
else:
    ov = Runtime("openvino")


def to_ir(model: ov.Model, *, fp16: bool = False) -> tuple[bytes, bytes]:
    """Return the contents of the ``.xml`` file and of the ``.bin`` file.

    Args:
        model: the graph.
        fp16: whether weights in fp32 are kept in half as many bits.
    """
    with tempfile.TemporaryDirectory(prefix="fleetnet-") as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=fp16)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
