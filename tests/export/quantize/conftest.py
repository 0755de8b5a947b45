"""A network whose answers depend on the image, and images that it was not trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fleetnet.bundle import Activation, Bundle
from fleetnet.export.bundle import export_bundle
from fleetnet.export.quantize.samples import Samples, draw_samples
from fleetnet.image_files import find_images
from fleetnet.inference.verify import prepare
from fleetnet.training.checkpoint import Checkpoint
from samples import CLASSES, make_folder


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images: a third of them calibrates."""
    return make_folder(tmp_path_factory.mktemp("others") / "shapes", 20, seed=11)


def teach(checkpoint: Path, output: Path, images: Path, activation: Activation) -> Bundle:
    """Export the session's network with a classifier fitted to its features by least squares.

    Two epochs of training leave a network that says one class of every image: then any
    quantisation agrees with it.
    """
    trained = Checkpoint.load(checkpoint)
    network = trained.network()
    paths = sorted(find_images([str(images)]))
    labels = np.array([CLASSES.index(Path(path).parent.name) for path in paths])
    scale, shift = map(torch.from_numpy, trained.preprocess.normalisation())
    pixels = torch.from_numpy(prepare(paths, trained.preprocess)).float() * scale + shift
    with torch.inference_mode():
        features: torch.Tensor = network.embedding(pixels.permute(0, 3, 1, 2))  # type: ignore[operator]
    wide = np.c_[features.double().numpy(), np.ones(len(labels))]
    wanted = np.where(np.eye(3)[labels] > 0, 5.0, -5.0)
    gram = wide @ wide.T + 1e-3 * np.trace(wide @ wide.T) / len(wide) * np.eye(len(wide))
    fitted = (wide.T @ np.linalg.solve(gram, wanted)).astype(np.float32)
    state = {
        **trained.state,
        "classifier.weight": torch.from_numpy(np.ascontiguousarray(fitted[:-1].T)),
        "classifier.bias": torch.from_numpy(np.ascontiguousarray(fitted[-1])),
    }
    replace(trained, state=state, activation=activation).save(output.with_suffix(".ckpt"))
    return export_bundle(output.with_suffix(".ckpt"), output, images=[str(images)], limit=4)


@pytest.fixture(scope="session")
def taught(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, shapes: Path, others: Path
) -> Bundle:
    return teach(checkpoint, tmp_path_factory.mktemp("taught") / "b.bundle", others, "softmax")


@pytest.fixture(scope="session")
def drawn(taught: Bundle, others: Path) -> Samples:
    return draw_samples(find_images([str(others)]), taught.manifest.preprocess)
