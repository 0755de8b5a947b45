"""Networks that a runtime cannot compute are refused in one line, never by its own exceptions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.inference.engines import Mode, open_engine
from odd_networks import (
    NETWORK,
    with_a_class_that_is_not_there,
    with_logits_of_another_shape,
    with_two_inputs,
)

ENGINES = ("openvino", "onnxruntime")
SIDE = Bundle.load(NETWORK).manifest.preprocess.crop
PIXELS = np.zeros((1, SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize("engine", ENGINES)
def test_two_inputs(engine: str, tmp_path: Path) -> None:
    path = with_two_inputs(tmp_path / "model.onnx")
    with pytest.raises(BundleError) as said:
        open_engine(engine, Bundle.load(path))
    assert str(said.value) == f"{path} takes 2 inputs instead of one: export the bundle anew"


@pytest.mark.parametrize("mode", ["latency", "throughput"])
@pytest.mark.parametrize(
    ("engine", "make"),
    [
        ("onnxruntime", with_a_class_that_is_not_there),
        ("onnxruntime", with_logits_of_another_shape),
        ("openvino", with_logits_of_another_shape),
    ],
)
def test_what_cannot_be_computed(
    engine: str,
    make: Callable[[Path], Path],
    mode: Mode,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By each way to ask; and the runtime's own log does not stand beside the line."""
    opened = open_engine(engine, Bundle.load(make(tmp_path / "model.onnx")), 2, mode=mode)
    for ask in (
        lambda: opened.run(PIXELS),
        lambda: opened.outputs(PIXELS),  # type: ignore[attr-defined]
        lambda: list(opened.run_all([PIXELS, PIXELS])),
    ):
        with pytest.raises(FleetnetError) as said:
            ask()
        line = str(said.value)
        assert line.startswith(f"{engine} cannot compute this network in fp32 on the device cpu: ")
        assert "\n" not in line
        assert "ONNXRuntimeError" not in line
    assert capfd.readouterr() == ("", "")
