"""The values that a fresh network starts from."""

from __future__ import annotations

import math

from torch import nn


def initialise(module: nn.Module) -> None:
    """He initialisation by fan-out (He et al. 2015), as torchvision initialises MobileNetV2.

    Neither paper states an initialisation. A depthwise filter's fan-out counts only its own
    outputs, as in the TensorFlow code of MnasNet and EfficientNet, which are built of the same
    blocks; batch norm starts as the identity.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
