"""Networks of every kind, untrained, answer in C++ as in Python: fp32, fewer bits, int8.

All of them take long, so the smallest of each family stands for it: ``FLEETNET_CPP_NETWORKS=all``
runs every network there is, which are those that have published weights, a list of names with
commas between them those.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cpp.library import Library
from fleetnet.benchmark.untrained import CLASSES, make_untrained
from fleetnet.bundle import Bundle
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.samples import Samples
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Precision, precisions
from fleetnet.models.registry import MODELS, find_model

pytestmark = pytest.mark.slow

CHOSEN = os.environ.get(
    "FLEETNET_CPP_NETWORKS",
    "MobileNetV2_x0_25,mobilenetv2_035,ReXNet_1_0,ReXNet_lite_1_0,EfficientNet_Lite0",
)
NETWORKS = tuple(MODELS) if CHOSEN == "all" else tuple(CHOSEN.split(","))
IN_INT8 = NETWORKS if "FLEETNET_CPP_NETWORKS" in os.environ else NETWORKS[:1]
"""Quantising takes longer than all the rest."""
TOLERANCE = {"fp32": 1e-5, "bf16": 1e-2, "fp16": 1e-2, "int8": 1e-2}
"""Largest difference of a logit."""
COMPARED = 5
CALIBRATED = 10


@pytest.fixture(scope="module", params=NETWORKS)
def untrained(
    request: pytest.FixtureRequest,
    library: Library,
    photos: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bundle]:
    """Yield a network's bundle; gone afterwards, because all together they fill a disk."""
    name: str = request.param
    folder = tmp_path_factory.mktemp("untrained") / f"{name}.bundle"
    yield make_untrained(name, find_model(name).size, folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def quantised(untrained: Bundle, photos: list[Path]) -> Bundle:
    """Return the same bundle with the network in int8 as well, or skip the test."""
    if untrained.manifest.model.name not in IN_INT8:
        pytest.skip("other networks stand for this one in int8")
    preprocess = untrained.manifest.preprocess
    images = [preprocess.from_bytes(photo.read_bytes()) for photo in photos[: 2 * CALIBRATED]]
    samples = Samples(np.stack(images[:CALIBRATED]), np.stack(images[CALIBRATED:]), 0, 0)
    # Any answer will do: those of an untrained network change with little.
    return quantize_bundle(untrained, samples, "photographs", engines=["openvino"], agreement=1e-6)[
        0
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_answers(
    precision: Precision,
    request: pytest.FixtureRequest,
    untrained: Bundle,
    library: Library,
    predictor: list[str],
    photos: list[Path],
) -> None:
    """The library gives Python's logits, and the command names Python's five classes in order."""
    bundle: Bundle = request.getfixturevalue("quantised") if precision == "int8" else untrained
    if precision not in precisions("openvino", bundle):
        pytest.skip(f"there is no {precision} here")
    images = photos[:: len(photos) // COMPARED][:COMPARED]
    with Classifier(bundle, engine="openvino", precision=precision, threads=2) as classifier:
        answers = list(classifier.predict(images, top_k=5))
    wanted = np.stack([answer.logits for answer in answers if answer.logits is not None])

    with library.open(bundle.path, precision=precision.encode(), threads=2) as opened:
        found = opened.logits([image.read_bytes() for image in images], CLASSES)
    assert np.abs(found - wanted).max() < TOLERANCE[precision]

    command = [*predictor, bundle.path, *images, "--json", "--top-k", "5", "--threads", "2"]
    done = subprocess.run(
        [*map(str, command), "--precision", precision], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [[score["index"] for score in line["top"]] for line in lines] == [
        [score.index for score in answer.top] for answer in answers
    ]
