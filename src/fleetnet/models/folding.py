"""A network for inference alone: the same answers from fewer layers."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fleetnet.models.layers import ConvNormAct, LinearNormAct


def fold_batch_norm(network: nn.Module) -> nn.Module:
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
