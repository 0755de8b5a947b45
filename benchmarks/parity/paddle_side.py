"""PaddleClas's half of the comparison; runs where PaddlePaddle is and Fleetnet is not.

``python paddle_side.py make FOLDER NETWORK`` makes a random network: weights, input, logits;
``python paddle_side.py check FOLDER NETWORK`` saves the logits of the weights that our half wrote.
One network a process, because PaddlePaddle lets a parameter's name be used once.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
from pathlib import Path

import numpy as np
import paddle

ZOO = {
    "MobileNetV1": "legendary_models.mobilenet_v1",
    "MobileNetV2": "model_zoo.mobilenet_v2",
    "MobileNetV3": "legendary_models.mobilenet_v3",
    "ReXNet": "model_zoo.rexnet",
    "ShuffleNetV2": "model_zoo.shufflenet_v2",
    "GhostNet": "model_zoo.ghostnet",
    "PPLCNet": "legendary_models.pp_lcnet",
    "MobileNetV4": "legendary_models.mobilenet_v4",
}
"""The file of each family, by how its networks' names begin."""
CALLED = {"ShuffleNetV2": "ShuffleNetV2_x1_0"}
"""Networks that have another name in the code than in the documents."""
GROWING = ("MobileNetV4", "GhostNet")
"""Networks whose activations grow with every block unless batch norm's statistics are theirs."""


def load_zoo(name: str) -> types.ModuleType:
    """Import the file of PaddleClas that has a network, without the rest of the package.

    The package's own ``__init__`` files import everything it has; empty ones take their place.
    """
    root = next(Path(entry) for entry in sys.path if (Path(entry) / "paddleclas").is_dir())
    base = root / "paddleclas" / "ppcls"
    backbone = "ppcls.arch.backbone"
    inner = (f"{backbone}.{folder}" for folder in ("base", "model_zoo", "legendary_models"))
    for package in ("ppcls", "ppcls.arch", backbone, *inner):
        if package not in sys.modules:
            module = types.ModuleType(package)
            module.__path__ = [str(base.joinpath(*package.split(".")[1:]))]
            sys.modules[package] = module
    utils = types.ModuleType("ppcls.utils")
    utils.__path__ = []
    utils.logger = logging.getLogger("ppcls")
    save_load = types.ModuleType("ppcls.utils.save_load")
    save_load.load_dygraph_pretrain = None
    sys.modules.setdefault("ppcls.utils", utils)
    sys.modules.setdefault("ppcls.utils.save_load", save_load)
    file = next(file for family, file in ZOO.items() if name.startswith(family))
    return importlib.import_module(f"{backbone}.{file}")


def randomise(network: paddle.nn.Layer) -> None:
    """Give batch norm random statistics; fresh ones would hide mistakes."""
    rng = np.random.default_rng(5)
    for key, value in network.state_dict().items():
        shape = tuple(value.shape)
        if key.endswith("_mean"):
            value.set_value(rng.uniform(-0.3, 0.3, shape).astype("float32"))
        elif key.endswith("_variance"):
            value.set_value(rng.uniform(0.5, 1.5, shape).astype("float32"))
        elif len(shape) == 1:
            value.set_value(rng.uniform(0.3, 1.0, shape).astype("float32"))
        elif key in ("out.weight", "fc.weight", "classifier.weight", "_fc.weight", "fc_1.weight"):
            value.set_value(rng.uniform(-0.05, 0.05, shape).astype("float32"))


def settle(network: paddle.nn.Layer, pixels: np.ndarray) -> None:
    """Give batch norm the statistics of the input, so that logits are of an ordinary size."""
    for layer in network.sublayers():
        if hasattr(layer, "_momentum"):
            layer._momentum = 0.1
    network.train()
    with paddle.no_grad():
        network(paddle.to_tensor(pixels))


def logits(network: paddle.nn.Layer, pixels: np.ndarray) -> np.ndarray:
    """Run a network in evaluation mode."""
    network.eval()
    with paddle.no_grad():
        return network(paddle.to_tensor(pixels)).numpy()


def main(step: str, folder: Path, name: str) -> None:
    """Do one of the two steps for one network."""
    pixels = np.random.default_rng(9).normal(size=(2, 3, 224, 224)).astype("float32")
    np.save(folder / "input.npy", pixels)
    zoo = load_zoo(name)
    paddle.seed(1)
    network = getattr(zoo, CALLED.get(name, name))()
    if step == "make":
        randomise(network)
        if name.startswith(GROWING):
            settle(network, pixels)
        paddle.save(network.state_dict(), str(folder / f"{name}.paddle.pdparams"))
        np.save(folder / f"{name}.paddle.npy", logits(network, pixels))
    else:
        state = paddle.load(str(folder / f"{name}.ours.pdparams"))
        missing, unexpected = network.set_state_dict(state)
        if missing or unexpected:
            sys.exit(f"{name}: missing {missing}, unexpected {unexpected}")
        np.save(folder / f"{name}.ours-in-paddle.npy", logits(network, pixels))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
