"""Every photograph gets the same answer in C++ as in Python, in the same engine, in fp32."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cpp.library import Library
from fleetnet.benchmark.untrained import CLASSES, make_untrained
from fleetnet.bundle import Bundle
from fleetnet.inference.classifier import Classifier
from fleetnet.models.registry import find_model

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
"""Largest difference of a logit."""
BEST = 5


@pytest.fixture(scope="module", params=["MobileNetV2", "ReXNet_1_0"])
def untrained(
    request: pytest.FixtureRequest, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Return a network with weights of chance, by which photographs get very different logits."""
    name: str = request.param
    folder = tmp_path_factory.mktemp("untrained") / f"{name}.bundle"
    return make_untrained(name, find_model(name).size, folder)


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an engine that both have."""
    if request.param == "onnxruntime":
        found = importlib.util.find_spec("onnxruntime")
        if found is None or found.origin is None:
            pytest.skip("ONNX Runtime is not installed")
        (runtime,) = (Path(found.origin).parent / "capi").glob("libonnxruntime.so.*")
        monkeypatch.setenv("FLEETNET_ONNXRUNTIME", str(runtime))
    name: str = request.param
    return name


@pytest.mark.parametrize("exact", [True, False])
def test_every_photograph_gets_the_same_answer(
    library: Library, untrained: Bundle, engine: str, photos: list[Path], exact: bool
) -> None:
    with Classifier(untrained, engine=engine, threads=2, mode="throughput", exact=exact) as opened:
        answers = list(opened.predict(photos, top_k=BEST))
    wanted = np.stack([answer.logits for answer in answers if answer.logits is not None])
    assert len(wanted) == len(photos)
    # Otherwise neither the tolerance nor the order would say anything.
    assert np.ptp(wanted, axis=0).max() > 0.5
    options = {"threads": 2, "throughput": 1, "exact": int(exact)}
    with library.open(untrained.path, engine=engine.encode(), **options) as handle:
        found = handle.logits([photo.read_bytes() for photo in photos], CLASSES)
    assert np.abs(found - wanted).max() < TOLERANCE
    order = np.argsort(-found, axis=1, kind="stable")[:, :BEST]
    assert order.tolist() == [[score.index for score in answer.top] for answer in answers]
