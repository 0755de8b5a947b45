"""Make the networks: random weights with the statistics of real pixels, in everybody's format.

    python -m benchmarks.peers.make.ours FOLDER PHOTOS

The others get the weights of ours under their own names and in their own files, and so have to
give the answers of ours.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.contenders import SUBJECTS, Interpolation, SharedNetwork
from fleetnet.bundle import Artifact, Manifest, ModelInfo, TensorInfo, write_bundle
from fleetnet.export.onnx import INPUT, LOGITS, PROBABILITIES, to_onnx
from fleetnet.image_files import find_images
from fleetnet.inference.verify import prepare
from fleetnet.models.names import PADDLE, TIMM
from fleetnet.models.registry import build_model, find_model
from fleetnet.preprocess import Preprocess
from fleetnet.weights.adapter import Adapter
from fleetnet.weights.identify import from_ours
from fleetnet.weights.write import write_weights

CLASSES = 1000
INPUTS = 4
"""How many images the engines get, which take turns."""
CALIBRATION = 32


def main(folder: Path, photos: str) -> None:
    """Write ``inputs.npz``, and for each network its bundles, others' weights, and answers."""
    torch.manual_seed(0)
    pixels = prepare(find_images([photos]), Preprocess(), CALIBRATION)
    scale, shift = (torch.from_numpy(part) for part in Preprocess().normalisation())
    floats = (torch.tensor(pixels).float() * scale + shift).permute(0, 3, 1, 2).contiguous()
    np.savez(folder / "inputs.npz", pixels=pixels[:INPUTS], floats=floats[:INPUTS].numpy())
    for subject in SUBJECTS:
        network = calibrated(build_model(subject.ours, CLASSES), floats)
        write_bundles(folder, subject.ours, network)
        write_for_others(folder, subject, network)
        with torch.inference_mode():
            probabilities = network(floats[:INPUTS]).softmax(1).numpy()
        # Last, because it says that the others are there.
        np.save(folder / f"{subject.ours}.npy", probabilities)


def calibrated(network: nn.Module, floats: Tensor) -> nn.Module:
    """Set batch norm's statistics to those of real images, as training would.

    With statistics of nothing, values would grow or vanish from layer to layer, and an engine may
    be fast or slow on numbers that no trained network has. Scales below one and biases above zero
    keep rounding from being blown up from layer to layer as it is in other random networks. The
    last layer is scaled so that probabilities differ enough to compare.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 0.8)
            nn.init.uniform_(module.bias, 0.5, 1.5)
            module.momentum = None  # the plain average over all batches
    network.train()
    with torch.no_grad():
        for batch in torch.split(floats, 16):
            network(batch)
        network.eval()
        classifier = network.get_submodule("classifier")
        spread = network(floats).std(0).mean()
        for parameter in classifier.parameters():
            parameter.mul_(2 / spread)
        # Each class as probable as another, on average.
        bias = dict(classifier.named_parameters())["bias"]
        bias.sub_(network(floats).mean(0))
    return network


def write_bundles(folder: Path, name: str, network: nn.Module) -> None:
    """Write a bundle for each way of resizing around one graph, which all of them share."""
    preprocess = Preprocess()
    graph = to_onnx(network, preprocess, _manifest(name, preprocess))
    artifacts = (Artifact.of("onnx", {"model.onnx": graph}),)
    for interpolation in get_args(Interpolation):
        manifest = _manifest(name, Preprocess(interpolation=interpolation))
        manifest = manifest.model_copy(update={"artifacts": artifacts})
        write_bundle(folder / f"{name}.{interpolation}.bundle", manifest, {"model.onnx": graph})


def _manifest(name: str, preprocess: Preprocess) -> Manifest:
    return Manifest(
        model=ModelInfo(name=name, num_classes=CLASSES),
        classes=tuple(f"class {number}" for number in range(CLASSES)),
        preprocess=preprocess,
        input=TensorInfo(name=INPUT, dtype="uint8", shape=(None, 224, 224, 3)),
        outputs=tuple(
            TensorInfo(name=output, dtype="float32", shape=(None, CLASSES))
            for output in (LOGITS, PROBABILITIES)
        ),
    )


def write_for_others(folder: Path, subject: SharedNetwork, network: nn.Module) -> None:
    """Write the weights under timm's and PaddleClas's names."""
    entry, state = find_model(subject.ours), network.state_dict()
    if subject.timm:
        torch.save(from_ours(state, entry, Adapter(TIMM)), folder / f"{subject.timm}.pth")
    if subject.paddle:
        path = folder / f"{subject.paddle}.pdparams"
        write_weights(path, from_ours(state, entry, Adapter(PADDLE)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
