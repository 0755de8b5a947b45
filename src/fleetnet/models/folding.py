"""A network for inference only: the same answers from fewer layers."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from fleetnet.errors import ModelError
from fleetnet.models.base import Network
from fleetnet.models.layers import HardSigmoid

AnyModule = TypeVar("AnyModule", bound=nn.Module)

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norm(network: AnyModule) -> AnyModule:
    """Return a copy in evaluation mode whose batch norms are part of the layers before them.

    A batch norm is folded where it follows a convolution or a linear layer in an
    ``nn.Sequential``: there, the order of computation is certain, whatever the classes around it.
    So are the slope and the offset of a hard sigmoid, of which a clip is left.

    Raises:
        ModelError: a batch norm is left over; the message names it.
    """
    folded = copy.deepcopy(network).eval()
    used = _used(folded)
    for module in list(folded.modules()):
        if isinstance(module, nn.Sequential):
            _fold_neighbours(module, used)
            _fold_hard_sigmoids(module, used)
    for name, module in folded.named_modules():
        if isinstance(module, _BatchNorm):
            raise ModelError(
                f"the batch norm '{name}' cannot be folded: it does not follow a convolution or a "
                "linear layer, used only there, with as many channels, in an nn.Sequential"
            )
    return folded


def _fold_neighbours(sequence: nn.Sequential, used: Counter[nn.Module]) -> None:
    for (name, layer), (norm_name, norm) in itertools.pairwise(list(sequence.named_children())):
        # A class derived from one of these may compute something else.
        if type(layer) not in _LAYERS or type(norm) not in _NORMS:
            continue
        assert isinstance(layer, _LAYERS)  # noqa: S101 - for the type checker
        assert isinstance(norm, _BatchNorm)  # noqa: S101 - likewise
        fits = norm.running_mean is not None and norm.num_features == layer.weight.shape[0]
        if fits and used[layer] == used[norm] == 1:
            folded = (
                fuse_linear_bn_eval(layer, norm)
                if isinstance(layer, nn.Linear)
                else fuse_conv_bn_eval(layer, norm)
            )
            setattr(sequence, name, folded)
            delattr(sequence, norm_name)


def _fold_hard_sigmoids(sequence: nn.Sequential, used: Counter[nn.Module]) -> None:
    for (_, layer), (name, gate) in itertools.pairwise(list(sequence.named_children())):
        if type(layer) not in _LAYERS or type(gate) is not HardSigmoid or used[layer] > 1:
            continue
        assert isinstance(layer, _LAYERS)  # noqa: S101 - for the type checker
        assert isinstance(gate, HardSigmoid)  # noqa: S101 - likewise
        with torch.no_grad():
            half = layer.weight.new_full(layer.weight.shape[:1], 0.5)
            shifted = half if layer.bias is None else half + layer.bias * gate.slope
            layer.bias = nn.Parameter(shifted)
            layer.weight *= gate.slope
        setattr(sequence, name, nn.Hardtanh(0.0, 1.0))


def _used(network: nn.Module) -> Counter[nn.Module]:
    """Return how often each module is used in a network."""
    return Counter(module for _, module in network.named_modules(remove_duplicate=False))


def fold_input_scale(network: Network, scale: Tensor) -> Network:
    """Return a copy that multiplies its input by ``scale``, ``float32[C]``, in its first layer.

    The convolution's padding stays right, because zero times a scale is zero. A shift could not be
    folded, because padding zeros are added after it.
    """
    folded = copy.deepcopy(network)
    with torch.no_grad():
        folded.first_convolution.weight *= scale[:, None, None]
    return folded
