"""A network for inference whose channel counts fit the vectors that engines compute with.

ReXNet's widths, such as 27, 38, 50 and 61, are odd by design. Convolution kernels work on blocks of
channels. If a count is no multiple of the block, some engines are slower (ONNX Runtime leaves its
blocked layout), and others compute the remainder separately. Channels of zeros change no answer:
every activation here maps 0 to 0, and a gate times 0 is 0.
"""

from __future__ import annotations

import copy
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fleetnet.models.base import Network, Widening
from fleetnet.models.layers import widen_weights

MULTIPLE = 8
"""benchmarks/graph compares it with 4, 16 and 32."""


def padded_width(channels: int, multiple: int = MULTIPLE) -> int:
    """Round ``channels`` up to a multiple; to a multiple of half as much if they are few.

    Otherwise the narrowest networks would grow by half and gain nothing.
    """
    if channels <= 2 * multiple:
        multiple = max(multiple // 2, 1)
    return -(-channels // multiple) * multiple


def pad_channels(network: Network, multiple: int = MULTIPLE) -> Network:
    """Return a copy whose inner channel counts are rounded up, the new channels being zero.

    Images, logits and what the first channels of every layer hold stay as they are; the feature
    maps, the embedding and the weights get zeros at their end. A network with a module that cannot
    be widened (:class:`fleetnet.models.base.Widening`) is returned as it is.

    Args:
        network: without batch norms, as :func:`fleetnet.models.folding.fold_batch_norm` returns it.
        multiple: see :func:`padded_width`.

    Raises:
        ValueError: ``network`` has batch norms, which would not leave the new channels zero.
    """
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise ValueError("the network to pad still has batch norms: fold them first")
    padded = copy.deepcopy(network)
    *inner, classifier = (
        module
        for stage in padded.stages()
        for module in stage.modules.values()
        if not isinstance(module, nn.Identity)
    )
    assert isinstance(classifier, nn.Linear)  # noqa: S101 - for the type checker
    if not all(isinstance(module, Widening) for module in inner):
        return padded
    width = padded.first_convolution.in_channels
    for module in inner:
        assert isinstance(module, Widening)  # noqa: S101 - for the type checker
        width = module.widen(width, partial(padded_width, multiple=multiple))
    widen_weights(classifier, classifier.out_features, width)
    return padded
