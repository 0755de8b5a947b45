"""The original networks, for parity: timm's and torchvision's from their packages."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


@cache
def declare_torchvision_operators() -> torch.library.Library | None:
    """Declare the operators that torchvision's wheel lacks beside another build of PyTorch.

    Where its own library can be loaded, as beside a build for CUDA, they are there already, and
    to declare them twice ends the process.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        pass
    else:
        return None
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


GROWING = ("mobilenetv4",)
"""Networks whose activations grow with every block unless batch norm's statistics are theirs."""


def timm_network(name: str, **arguments: Any) -> nn.Module:
    declare_torchvision_operators()
    import timm

    network: nn.Module = randomise(timm.create_model(name, **arguments))
    if name.startswith(GROWING):
        settings: Any = network.pretrained_cfg
        settle(network, settings["input_size"][-1])
    return network


def torchvision_network(name: str) -> nn.Module:
    """Build ``mobilenet_v2``, or ``mobilenet_v2, width 1.4``."""
    declare_torchvision_operators()
    from torchvision import models

    name, _, width = name.partition(", width ")
    arguments = {"width_mult": float(width)} if width else {}
    network: nn.Module = getattr(models, name)(**arguments)
    return randomise(network)


def randomise(network: nn.Module) -> nn.Module:
    """Give every tensor random content; fresh batch-norm statistics would hide mistakes."""
    generator = torch.Generator().manual_seed(5)

    def uniform(tensor: Tensor | None, low: float, high: float) -> None:
        assert tensor is not None
        with torch.no_grad():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            uniform(module.running_mean, -0.3, 0.3)
            uniform(module.running_var, 0.5, 1.5)
            uniform(module.weight, 0.5, 1.5)
            uniform(module.bias, -0.3, 0.3)
        elif isinstance(module, nn.Linear):
            uniform(module.weight, -0.05, 0.05)
            uniform(module.bias, -1, 1)
    return network.eval()


def settle(network: nn.Module, size: int) -> None:
    """Give batch norm the statistics of a random batch, so that logits are of an ordinary size."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = 0.9
    with torch.no_grad():
        images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(7))
        network.train()(images)
    network.eval()


def largest_difference(one: nn.Module, other: nn.Module, size: int = 224) -> tuple[float, float]:
    """Return the largest difference of a logit on random input, and the logits' spread."""
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        a, b = one.eval()(x), other.eval()(x)
    return float((a - b).abs().max()), float(a.std())
