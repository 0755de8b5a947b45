"""The non-linearities that are compared."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Nonlinearity = Callable[[Tensor], Tensor]

NONLINEARITIES: dict[str, Nonlinearity] = {
    "none": lambda x: x,
    "ReLU": functional.relu,
    "ReLU6": functional.relu6,
    "leaky ReLU": functional.leaky_relu,
    "hard-swish": functional.hardswish,
    "SiLU": functional.silu,
    "ELU": functional.elu,
    "softplus": functional.softplus,
}
"""By the name in tables; ``none`` shows what a linear layer does."""
