"""A network in int8, in the browser's WebAssembly."""

from __future__ import annotations

from pathlib import Path

import pytest

import conftest
from fleetnet.bundle import Bundle
from samples import make_folder

pytestmark = pytest.mark.slow


def test_int8_is_what_quantize_made(
    fleetnet: conftest.Run, runtime: None, bundle: Bundle, tmp_path: Path
) -> None:
    others = make_folder(tmp_path / "others", 20, seed=11)
    small, made = tmp_path / "small.bundle", tmp_path / "made"
    quantized = fleetnet(
        "quantize", bundle.path, "--images", others, "--engine", "onnxruntime", "-o", small
    )
    assert quantized.code == 0, quantized
    written = fleetnet("export", small, "--to", "web:int8", "-o", made, "--images", others)
    assert written.code == 0, written
    (artifact,) = Bundle.load(made).artifacts
    assert artifact.precision == "int8"
    (record,) = artifact.verification
    assert record.engine == "onnxruntime-web"
    assert record.agreement is not None
    assert record.agreement >= 0.99
    graph = Bundle.load(small).file(format="onnx", precision="int8").read_bytes()
    assert (made / "model.onnx").read_bytes() == graph
