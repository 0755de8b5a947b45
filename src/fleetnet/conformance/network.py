"""The set's network, which is small and has weights computed from integers, and its answers.

It was never trained, and its answers mean nothing. But they differ for any two pictures, and they
depend on all of its arithmetic. Its weights have few bits, so that the file compresses well.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetnet.bundle import Manifest, ModelInfo
from fleetnet.export.onnx import Deployable, graph_input, graph_outputs, to_onnx
from fleetnet.models import build_model
from fleetnet.preprocess import Preprocess

NAME = "MobileNetV2_x0_25"
CLASSES = ("circle", "square", "stripes", "nothing")
DECIMALS = 6
"""Digits of the expected logits: enough for any tolerance, too few to show rounding errors."""
_STEPS = 7
"""Weights are at most this many steps of a power of two, positive or negative."""


def network() -> nn.Module:
    """Return the network, in evaluation mode."""
    built = build_model(NAME, num_classes=len(CLASSES))
    state = built.state_dict()
    built.load_state_dict(
        {key: _values(key, value, place) for place, (key, value) in enumerate(state.items())}
    )
    return built.eval()


def manifest(preprocess: Preprocess) -> Manifest:
    """Return the manifest in the network's file."""
    return Manifest(
        model=ModelInfo(name=NAME, num_classes=len(CLASSES)),
        classes=CLASSES,
        preprocess=preprocess,
        input=graph_input(preprocess.crop),
        outputs=graph_outputs(len(CLASSES)),
        provenance={"made_for": "the conformance set", "trained": False},
    )


def graph(preprocess: Preprocess) -> bytes:
    """Return the network as the content of an ``.onnx`` file, which is a bundle by itself."""
    return to_onnx(network(), preprocess, manifest(preprocess))


def logits(preprocess: Preprocess, pixels: npt.NDArray[np.uint8]) -> list[list[float]]:
    """Return the network's answers, computed in double precision.

    Args:
        preprocess: its normalisation is used.
        pixels: ``uint8[N, crop, crop, 3]``.
    """
    deployable = Deployable(network(), preprocess).eval().double()
    with torch.inference_mode():
        answers: Tensor = deployable(torch.from_numpy(pixels))[0]
    assert answers.dtype == torch.float64  # noqa: S101 - what the digits rest on
    rounded: list[list[float]] = answers.numpy().round(DECIMALS).tolist()
    return rounded


def _values(key: str, like: Tensor, seed: int) -> Tensor:
    """Return a parameter's values, such that activations keep their size from layer to layer."""
    if key.endswith("num_batches_tracked"):
        return like
    if key.endswith("running_var"):
        return torch.full_like(like, 1 - 1e-5)  # with what batch norm adds, one
    steps = _whole_numbers(like.numel(), seed).reshape(like.shape)
    if key.endswith("norm.weight"):
        return 1 + steps / 32
    if like.ndim == 1:
        return steps / 32
    inputs = like[0].numel()
    if key.startswith("classifier"):
        steps = 8 * steps  # so that answers are as far apart as a trained network's
    return steps * 2.0 ** round(math.log2(math.sqrt(2 / inputs) / (_STEPS * 0.6)))


def _whole_numbers(count: int, seed: int) -> Tensor:
    """Return numbers from -7 to 7 that look random, ``float32[count]``.

    They are the top bits of a product, as in a bundle's self-test, here of 64 bits and mixed once
    more, so that neither neighbours nor the same place in two tensors are correlated.
    """
    k = np.arange(count, dtype=np.uint64) + np.uint64((seed + 1) * 1_000_003)
    mixed = k * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    steps = (mixed >> np.uint64(40)) % np.uint64(2 * _STEPS + 1)
    return torch.from_numpy(steps.astype(np.float32) - _STEPS)
