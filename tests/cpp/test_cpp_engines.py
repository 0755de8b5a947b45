"""The C++ library computes what the Python package computes in the same engine."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cpp.library import Library, LibraryError
from fleetnet.bundle import Bundle
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import precisions

CONFORMANCE = Path(__file__).parents[2] / "conformance"
NETWORK = CONFORMANCE / "network.onnx"
IMAGES = [
    path.read_bytes()
    for path in sorted((CONFORMANCE / "pictures").glob("*"))
    if path.suffix in (".png", ".jpg") and "bad-" not in path.name and "-101" not in path.name
]


def _of_python(engine: str, precision: str, count: int) -> npt.NDArray[np.float32]:
    with Classifier(NETWORK, engine=engine, precision=precision, exact=True, threads=2) as made:  # type: ignore[arg-type]
        answers = list(made.predict(IMAGES[:count]))
    return np.stack([answer.logits for answer in answers if answer.logits is not None])


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("throughput", [0, 1])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_logits(
    library: Library,
    engine: str,
    throughput: int,
    batch_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In fp32 they agree within the rounding of the engine, whatever is computed at once."""
    if engine == "onnxruntime":
        monkeypatch.setenv("FLEETNET_ONNXRUNTIME", str(_onnx_runtime()))
    options = {"threads": 2, "throughput": throughput, "batch_size": batch_size, "exact": 1}
    with library.open(NETWORK, engine=engine.encode(), **options) as opened:
        found = opened.logits(IMAGES, 4)
    assert len(IMAGES) > 20
    wanted = _of_python(engine, "fp32", len(IMAGES))
    assert np.abs(found - wanted).max() < 1e-5


def test_precisions_that_the_processor_has(library: Library) -> None:
    """What the processor computes in fewer bits is the same; the rest is refused by one line."""
    offered = precisions("openvino", Bundle.load(NETWORK))
    for precision in ("fp32", "bf16", "fp16", "int8"):
        if precision in offered:
            with library.open(NETWORK, precision=precision.encode(), exact=1) as opened:
                found = opened.logits(IMAGES, 4)
            wanted = _of_python("openvino", precision, len(IMAGES))
            assert np.abs(found - wanted).max() < 1e-2
            continue
        with (
            pytest.raises(LibraryError) as said,
            library.open(NETWORK, precision=precision.encode()),
        ):
            pass
        with pytest.raises(Exception, match="openvino") as error:
            Classifier(NETWORK, precision=precision)
        assert str(said.value) == str(error.value)


def test_a_runtime_that_is_not_where_it_is_said_to_be(
    predictor: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the path that was given."""
    monkeypatch.setenv("FLEETNET_ONNXRUNTIME", "/not/there.so")
    command = [*predictor, str(NETWORK), "picture.png", "--engine", "onnxruntime"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: FLEETNET_ONNXRUNTIME names no ONNX Runtime that can be loaded: /not/there.so\n"
    )


def _onnx_runtime() -> Path:
    """Return the library in ONNX Runtime's wheel, or skip the test."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        pytest.skip("ONNX Runtime is not installed")
    return next((Path(found.origin).parent / "capi").glob("libonnxruntime.so.*"))
