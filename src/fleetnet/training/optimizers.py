"""Optimisers, and which settings each parameter trains with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fleetnet.errors import require
from fleetnet.models.base import Network
from fleetnet.training.recipe import OptimizerSettings

RMSPROP_EPS = 1e-3
"""The value in TensorFlow's MnasNet and EfficientNet code and in timm's recipes."""


class RmsPropTF(Optimizer):
    """RMSprop as TensorFlow 1 computes it (Tieleman and Hinton 2012).

    Unlike PyTorch's, ``eps`` is under the square root, the mean square starts at one, and the
    momentum gathers steps that the learning rate has scaled already. The recipes of MobileNetV2,
    MnasNet and EfficientNet were found with it. ``weight_decay`` is L2, added to the gradient.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        alpha: decay of the mean square.
        momentum: of the steps.
        eps: added to the mean square before its root is taken.
        weight_decay: L2 coefficient.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        *,
        alpha: float = 0.9,
        momentum: float = 0.9,
        eps: float = RMSPROP_EPS,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "momentum": momentum,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, computes the loss again first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update([one for one in group["params"] if one.grad is not None], group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Update all at once: on a GPU a call for each of many small tensors is what takes time."""
        if not parameters:
            return
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["mean_square"] = torch.ones_like(parameter)
                self.state[parameter]["steps"] = torch.zeros_like(parameter)
        gradients = [one.grad for one in parameters if one.grad is not None]
        mean_squares, steps = (
            [self.state[one][key] for one in parameters] for key in ("mean_square", "steps")
        )
        if group["weight_decay"]:
            decayed = torch._foreach_add(gradients, parameters, alpha=group["weight_decay"])
            gradients = list(decayed)
        squares = torch._foreach_mul(gradients, gradients)
        torch._foreach_lerp_(mean_squares, squares, 1 - group["alpha"])
        scaled = torch._foreach_add(mean_squares, group["eps"])
        torch._foreach_rsqrt_(scaled)
        torch._foreach_mul_(scaled, gradients)
        torch._foreach_mul_(steps, group["momentum"])
        torch._foreach_add_(steps, scaled, alpha=group["lr"])
        torch._foreach_sub_(parameters, steps)


def parameter_groups(network: Network, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Group the parameters by learning rate and weight decay.

    Each group has ``lr_scale``, by which the schedule multiplies: ``layer_decay`` to the power of
    the number of stages from the group to the classifier (Clark et al. 2020). Norms and biases,
    which have one dimension, decay only with ``decay_norm_and_bias``.
    """
    stages = network.stages()
    groups: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        scale = settings.layer_decay ** (len(stages) - 1 - number)
        parameters = list(stage.parameters())
        flat_decay = settings.weight_decay if settings.decay_norm_and_bias else 0.0
        for members, decay in (
            ([p for p in parameters if p.ndim > 1], settings.weight_decay),
            ([p for p in parameters if p.ndim <= 1], flat_decay),
        ):
            same = next(
                (g for g in groups if (g["lr_scale"], g["weight_decay"]) == (scale, decay)), None
            )
            if same is not None:
                same["params"] += members
            elif members:
                groups.append({"params": members, "weight_decay": decay, "lr_scale": scale})
    return groups


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimiser's state, which may be of a run on another kind of device.

    Raises:
        KeyError, ValueError: the state is not of this optimiser.
    """
    groups = [
        # Which kernels are used is this device's matter, and decides where counters are kept.
        {**saved, **{key: own[key] for key in ("fused", "foreach") if key in own}}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


def build_optimizer(network: Network, settings: OptimizerSettings) -> Optimizer:
    """Return the recipe's optimiser for all parameters of ``network``.

    On a CUDA device it updates them all in a few kernels: PyTorch's fused ones, where it has any.

    Raises:
        FleetnetError: ``lamb`` without the package ``pytorch-optimizer``.
    """
    groups = parameter_groups(network, settings)
    # Elsewhere PyTorch decides, as ever.
    fused = True if next(network.parameters()).device.type == "cuda" else None
    eps: dict[str, Any] = {} if settings.eps is None else {"eps": settings.eps}
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            fused=fused,
        )
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused, **eps)
    if settings.name == "rmsprop":
        return RmsPropTF(
            groups, lr=settings.lr, alpha=settings.alpha, momentum=settings.momentum, **eps
        )
    try:
        from pytorch_optimizer import Lamb
    except ModuleNotFoundError:
        raise require("pytorch-optimizer", "train", "the optimiser 'lamb'") from None
    # Its own clipping of the global norm is off: clip_norm does that for every optimiser.
    lamb: Optimizer = Lamb(groups, lr=settings.lr, betas=settings.betas, max_grad_norm=0.0, **eps)
    return lamb
