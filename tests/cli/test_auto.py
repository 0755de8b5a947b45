import functools
import json
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from fleetnet import Classifier
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.image_files import find_images
from fleetnet.inference import tuning_cache
from fleetnet.inference.engines import Mode
from fleetnet.inference.tuning import tune
from fleetnet.inference.tuning_cache import load_tuned
from serving.conftest import serving

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Measure as short as can be, and remember in a place of the test's own."""
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        tuning_cache, "tune", functools.partial(tune, budget=0, engines=["onnxruntime", "openvino"])
    )


@pytest.fixture
def never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this measures")

    monkeypatch.setattr(tuning_cache, "tune", refuse)


def labels(lines: str) -> list[str]:
    return [json.loads(line)["top"][0]["class"] for line in lines.splitlines()]


def test_predicting_many_measures_once_and_remembers(
    fleetnet: Run, bundle: Bundle, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fleetnet("predict", bundle.path, shapes, "--json")
    first = fleetnet("predict", bundle.path, shapes, "--json", "--engine", "auto")
    assert first.code == 0
    assert labels(first.out) == labels(plain.out)
    choice = load_tuned(bundle, "throughput")
    assert choice is not None
    assert f"throughput: {choice}" in first.err
    monkeypatch.setattr(tuning_cache, "tune", None)
    second = fleetnet("predict", bundle.path, shapes, "--json", "--engine", "auto")
    assert (second.code, second.out) == (0, first.out)
    assert f"throughput: {choice}" in second.err


@pytest.mark.usefixtures("never_measured")
def test_one_image_is_answered_without_tuning(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    image = next(shapes.rglob("*.png"))
    result = fleetnet("predict", bundle.path, image, "--json", "--engine", "auto")
    assert result.code == 0
    assert len(labels(result.out)) == 1
    assert "was not tuned on this machine" in result.err
    assert "'fleetnet tune'" in result.err
    assert load_tuned(bundle, "latency") is None


def test_one_image_gets_what_tuning_chose(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    tuned = fleetnet(
        "tune", bundle.path, "--images", shapes, "--engine", "onnxruntime", "--mode", "latency",
        "--seconds", "0",
    )  # fmt: skip
    assert tuned.code == 0
    image = next(shapes.rglob("*.png"))
    result = fleetnet("predict", bundle.path, image, "--engine", "auto")
    assert result.code == 0
    assert "latency: onnxruntime fp32" in result.err


def test_a_precision_beside_auto_is_refused(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    for verb in ("predict", "evaluate"):
        result = fleetnet(verb, bundle.path, shapes, "--engine", "auto", "--precision", "bf16")
        assert result.code == 2
        assert "--engine auto chooses the precision" in result.err
    with pytest.raises(FleetnetError, match="'auto' chooses the precision"):
        Classifier(bundle, engine="auto", precision="fp32")


def test_evaluating_finds_the_same_figures(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    arguments = ("evaluate", bundle.path, shapes, "--part", "all", "--bootstrap", "0", "--json")
    plain = fleetnet(*arguments)
    result = fleetnet(*arguments, "--engine", "auto")
    assert result.code == 0
    assert load_tuned(bundle, "throughput") is not None
    assert json.loads(result.out)["confusion"] == json.loads(plain.out)["confusion"]


def test_evaluating_in_a_precision(
    fleetnet: Run, bundle: Bundle, checkpoint: Path, shapes: Path
) -> None:
    result = fleetnet("evaluate", bundle.path, shapes, "--precision", "fp32")
    assert "engine openvino in fp32" in result.err
    result = fleetnet("evaluate", bundle.path, shapes, "--precision", "fp31")
    assert result.code == 2
    assert "fp31" in result.err
    result = fleetnet("evaluate", checkpoint, shapes, "--precision", "int8")
    assert result.code == 2
    assert "finds no int8 network in this bundle" in result.err


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_in_python_auto_is_what_was_chosen(bundle: Bundle, shapes: Path, mode: Mode) -> None:
    images = [Path(path) for path in find_images([str(shapes)])]
    plain = Classifier(bundle, engine="auto", mode=mode)
    assert (plain.engine.name, plain.engine.precision) == ("openvino", "fp32")
    chosen = tuning_cache.tuned_or_tune(bundle, mode, images)
    assert chosen is not None
    tuned = Classifier(bundle, engine="auto", mode=mode)
    assert (tuned.engine.name, tuned.engine.precision) == (chosen.engine, chosen.precision)
    assert (tuned.engine.threads, tuned.batch_size) == (chosen.threads, chosen.batch)
    for one, other in zip(plain.predict(images), tuned.predict(images), strict=True):
        assert one.logits is not None
        assert other.logits is not None
        np.testing.assert_allclose(one.logits, other.logits, atol=0.2)


@pytest.mark.usefixtures("never_measured")
def test_images_that_cannot_be_read_do_not_count(bundle: Bundle, shapes: Path) -> None:
    few = [Path(path) for path in find_images([str(shapes)])][:20]
    assert tuning_cache.tuned_or_tune(bundle, "latency", [*few, *(b"garbage",) * 100]) is None
    assert tuning_cache.tuned_or_tune(bundle, "latency", [b"garbage"]) is None


def test_a_server_computes_with_what_tuning_chose(
    fleetnet: Run, bundle: Bundle, shapes: Path
) -> None:
    tuned = fleetnet(
        "tune", bundle.path, "--images", shapes, "--engine", "onnxruntime", "--mode", "throughput",
        "--seconds", "0",
    )  # fmt: skip
    assert tuned.code == 0
    choice = load_tuned(bundle, "throughput")
    assert choice is not None
    with serving(models={"net": bundle.path}, engine={"name": "auto"}) as client:
        card = client.get("/models/net/card").json()
    assert card["engine"]["name"] == "onnxruntime", card["engine"]
    assert card["engine"]["threads"] == choice.threads
