"""A network for inference alone: the same answers from fewer layers."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fleetnet.models.layers import ConvNormAct, LinearNormAct
from fleetnet.models.network import Network

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def fold_batch_norm(network: AnyModule) -> AnyModule:
    """Return a copy in evaluation mode whose batch norms are part of the layers before them."""
    folded = copy.deepcopy(network).eval()
    for module in list(folded.modules()):
        if isinstance(module, ConvNormAct):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            del module.norm
        elif isinstance(module, LinearNormAct):
            module.linear = fuse_linear_bn_eval(module.linear, module.norm)
            del module.norm
    return folded


def fold_input_scale(network: Network, scale: Tensor) -> Network:
    """Return a copy that multiplies its input by ``scale``, ``float32[C]``, in its first layer.

    The convolution's padding stays right, for zero times a scale is zero. A shift could not be
    folded so: the padding is zero after it.
    """
    folded = copy.deepcopy(network)
    with torch.no_grad():
        folded.stem.conv.weight *= scale[:, None, None]
    return folded
