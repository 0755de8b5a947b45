"""Random layers and random inverted bottlenecks, a batch of them at once.

Weights and images are drawn from the normal distribution. Before each non-linearity, and after the
last convolution of a bottleneck, each channel is brought to mean 0 and variance 1, as batch norm
does in a network that begins to train: otherwise the scale of the weights would decide where the
non-linearities bend.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fleetnet.study.nonlinearities import Nonlinearity

SIDE = 12
"""Of the images in pixels: 144 columns, more than twice the rows of the widest features."""
EXPANSION = 6
"""Of the bottlenecks, as in MobileNetV2 and in ReXNet."""

Features = Callable[[Nonlinearity], Tensor]
"""Computes the features ``float64[B, C, N]`` of the drawn networks with a non-linearity."""


class Draw:
    """Draws images and weights of a batch of networks from a seeded generator.

    Args:
        networks: ``B``.
        generator: of random numbers.
    """

    def __init__(self, networks: int, generator: torch.Generator) -> None:
        self._networks, self._generator = networks, generator

    def images(self, channels: int) -> Tensor:
        """Return ``float64[B, channels, SIDE, SIDE]``."""
        return self._normal(channels, SIDE, SIDE)

    def weight(self, outputs: int, inputs: int, kernel: int) -> Tensor:
        """Return the weights of a convolution, ``float64[B, outputs, inputs, kernel, kernel]``."""
        return self._normal(outputs, inputs, kernel, kernel)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(self._networks, *shape, dtype=torch.float64, generator=self._generator)


def _layer(kernel: int) -> Callable[[Draw, int, int], Features]:
    def features(draw: Draw, inputs: int, outputs: int) -> Features:
        before = _convolved(draw.images(inputs), draw.weight(outputs, inputs, kernel))
        return lambda f: _matrix(f(_normalised(before)))

    return features


def _layer_depthwise(draw: Draw, inputs: int, outputs: int) -> Features:
    filtered = _normalised(_depthwise(draw.images(inputs), draw.weight(inputs, 1, 3)))
    pointwise = draw.weight(outputs, inputs, 1)
    return lambda f: _matrix(f(_normalised(_convolved(f(filtered), pointwise))))


def _bottleneck(kernel: int, *, depthwise: bool = False) -> Callable[[Draw, int, int], Features]:
    def features(draw: Draw, inputs: int, outputs: int) -> Features:
        hidden = EXPANSION * inputs
        expanded = _normalised(_convolved(draw.images(inputs), draw.weight(hidden, inputs, 1)))
        middle = draw.weight(hidden, 1 if depthwise else hidden, kernel) if kernel > 1 else None
        projection = draw.weight(outputs, hidden, 1)

        def computed(f: Nonlinearity) -> Tensor:
            values = f(expanded)
            if middle is not None:
                convolve = _depthwise if depthwise else _convolved
                values = f(_normalised(convolve(values, middle)))
            return _matrix(_normalised(_convolved(values, projection)))

        return computed

    return features


BLOCKS: dict[str, Callable[[Draw, int, int], Features]] = {
    "layer 1×1": _layer(1),
    "layer 3×3": _layer(3),
    "layer depthwise": _layer_depthwise,
    "bottleneck 1×1": _bottleneck(1),
    "bottleneck 3×3": _bottleneck(3),
    "bottleneck depthwise": _bottleneck(3, depthwise=True),
}
"""Take a draw, the channels of the input and of the output; by the name in tables."""


def _convolved(images: Tensor, weight: Tensor) -> Tensor:
    """Convolve the images of each network with its own weights, and zeros around them."""
    networks, outputs, _, kernel, _ = weight.shape
    if kernel == 1:
        columns = images.flatten(2)
    else:
        columns = functional.unfold(images, kernel, padding=kernel // 2)
    convolved = weight.reshape(networks, outputs, -1) @ columns
    return convolved.reshape(networks, outputs, SIDE, SIDE)


def _depthwise(images: Tensor, weight: Tensor) -> Tensor:
    """Filter each channel of each network by itself."""
    networks, channels = images.shape[:2]
    flat = images.reshape(1, networks * channels, SIDE, SIDE)
    filters = weight.reshape(networks * channels, 1, *weight.shape[3:])
    filtered = functional.conv2d(flat, filters, padding=1, groups=networks * channels)
    return filtered.reshape(networks, channels, SIDE, SIDE)


def _normalised(values: Tensor) -> Tensor:
    mean = values.mean((2, 3), keepdim=True)
    deviation = values.std((2, 3), keepdim=True, correction=0)
    return (values - mean) / (deviation + 1e-12)


def _matrix(values: Tensor) -> Tensor:
    return values.flatten(2)
