import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from compiling import takes_a_compiler
from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.inference.engines import (
    ENGINES,
    Engine,
    Mode,
    Pixels,
    Setup,
    installed_engines,
    open_engine,
    precisions,
)
from fleetnet.inference.probabilities import softmax
from fleetnet.inference.verify import prepare

NATIVE = [name for name in ENGINES if name != "torch-compiled"]
"""Compiling with PyTorch takes a minute, so it has a separate test."""


@pytest.fixture(scope="module")
def images(bundle: Bundle, shapes: Path) -> Pixels:
    return prepare(sorted(shapes.glob("*/*.png"))[::5], bundle.manifest.preprocess)


@pytest.fixture(scope="module")
def expected(bundle: Bundle, images: Pixels) -> np.ndarray:
    return open_engine("torch", bundle, 1).run(images)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("mode", get_args(Mode))
def test_batches_come_out_as_they_went_in(
    name: str, mode: Mode, bundle: Bundle, images: Pixels, expected: np.ndarray
) -> None:
    engine = open_engine(name, bundle, 2, mode=mode)
    assert (engine.name, engine.precision) == (name, "fp32")
    # Sizes change on the way, and one comes back after two others.
    bounds = [0, 1, 2, 3, 7, 11, 13, 14, 15, 16, len(images)]
    batches = [images[a:b] for a, b in itertools.pairwise(bounds)]
    answers = list(engine.run_all(iter(batches)))
    assert [len(answer) for answer in answers] == [len(batch) for batch in batches]
    assert np.allclose(softmax(np.concatenate(answers)), softmax(expected), atol=1e-4)
    assert list(engine.run_all([])) == []


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("mode", get_args(Mode))
def test_no_more_is_taken_than_is_in_flight(
    name: str, mode: Mode, bundle: Bundle, images: Pixels
) -> None:
    taken = 0

    def counted() -> Iterator[Pixels]:
        nonlocal taken
        for index in range(16):
            taken += 1
            yield images[index : index + 1]

    answers = open_engine(name, bundle, 2, mode=mode).run_all(counted())
    assert taken == 0
    for done in range(1, 17):
        next(answers)
        assert taken <= done + 3


def test_precisions_differ_from_fp32_only_by_rounding(
    bundle: Bundle, images: Pixels, expected: np.ndarray
) -> None:
    for name in NATIVE:
        offered = precisions(name, bundle)
        assert offered[0] == "fp32"
        for precision in offered[1:]:
            answers = open_engine(name, bundle, 1, precision=precision).run(images)
            difference = np.abs(softmax(answers) - softmax(expected))
            assert 0 < difference.mean() < 0.02, (name, precision)


@takes_a_compiler
def test_compiled_pytorch_answers_as_eager_does(
    bundle: Bundle, images: Pixels, expected: np.ndarray
) -> None:
    engine = open_engine("torch-compiled", bundle, 1)
    answers = engine.run(images[:2])
    assert np.allclose(softmax(answers), softmax(expected[:2]), atol=1e-4)


def test_a_precision_that_an_engine_does_not_offer_is_refused_by_name(bundle: Bundle) -> None:
    with pytest.raises(FleetnetError, match="onnxruntime does not offer bf16"):
        open_engine("onnxruntime", bundle, precision="bf16")
    with pytest.raises(FleetnetError, match="finds no int8 network in this bundle"):
        open_engine("openvino", bundle, precision="int8")
    with pytest.raises(FleetnetError, match="unknown engine 'openvin'"):
        precisions("openvin", bundle)
    for wrong in ({"precision": "fp8"}, {"mode": "fast"}, {"threads": 0}, {"threads": 1025}):
        with pytest.raises(FleetnetError, match=next(iter(wrong))):
            Setup(**wrong)
    with pytest.raises(FleetnetError, match="streams is 3; it must be from 1 to the number of"):
        Setup(threads=2, streams=3)


def test_an_onnx_file_alone_is_enough_for_its_engines(bundle: Bundle, images: Pixels) -> None:
    alone = Bundle.load(bundle.file(format="onnx"))
    for name in ("openvino", "onnxruntime"):
        engine: Engine = open_engine(name, alone, 1)
        assert engine.run(images[:1]).shape == (1, len(bundle.manifest.classes))
    with pytest.raises(BundleError, match="give the bundle's folder"):
        open_engine("torch", alone)


def test_installed_engines_are_those_that_can_be_imported() -> None:
    found = installed_engines()
    assert found
    for name in found:
        importlib.import_module(ENGINES[name].needs)
