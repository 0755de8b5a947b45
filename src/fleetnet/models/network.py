"""What every network here is: stem, inverted residuals, head, pool, classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fleetnet.models.layers import ConvNormAct, InvertedResidual, LinearNormAct


class BlockSetting(NamedTuple):
    """One inverted residual, as arithmetic alone: a family's table unrolled."""

    in_channels: int
    out_channels: int
    hidden: int
    stride: int
    expand: bool
    squeezed: int
    shortcut: bool


class NetworkSetting(NamedTuple):
    """A whole network as arithmetic: what a family's pure function computes from its width."""

    stem: int
    blocks: tuple[BlockSetting, ...]
    head: int
    """Channels of the last 1×1 convolution, which are the width of the embedding."""
    neck: int
    """Channels of a fully connected layer between the pool and the classifier, 0 for none."""
    act: type[nn.Module]
    """Activation of the stem, the expansions and the head."""


class Network(nn.Module):
    """A classifier of images, a plain module that takes normalised ``float32[N, C, H, W]``.

    Args:
        setting: the layers to build.
        num_classes: length of the logits.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
        drop_path: stochastic depth of the last block; earlier ones grow linearly to it from 0
            (Huang et al. 2016).
    """

    def __init__(
        self,
        setting: NetworkSetting,
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = setting.head
        self.stem = ConvNormAct(in_channels, setting.stem, 3, stride=2, act=setting.act)
        last = max(len(setting.blocks) - 1, 1)
        self.blocks = nn.Sequential(
            *(
                InvertedResidual(
                    **block._asdict(), expand_act=setting.act, drop_path=drop_path * index / last
                )
                for index, block in enumerate(setting.blocks)
            )
        )
        self.head = ConvNormAct(setting.blocks[-1].out_channels, setting.head, act=setting.act)
        self.neck: nn.Module = nn.Identity()
        if setting.neck:
            self.neck = LinearNormAct(setting.head, setting.neck, act=nn.ReLU6)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(setting.neck or setting.head, num_classes)
        self.feature_ends = _last_block_at_each_stride(setting.blocks)
        self.feature_channels = {
            stride: setting.blocks[index].out_channels for stride, index in self.feature_ends
        }
        self.apply(_initialise)

    def zero_residuals(self) -> None:
        """Make every block with a shortcut start as that shortcut alone (Goyal et al. 2017, 5.1).

        The last batch norm of the residual branch gets zeros for its weight.
        """
        for block in self.blocks:
            assert isinstance(block, InvertedResidual)  # noqa: S101 - for the type checker
            if block.shortcut:
                nn.init.zeros_(block.project.norm.weight)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to the last feature map, ``float32[N, F, H/32, W/32]``."""
        features: Tensor = self.head(self.blocks(self.stem(x)))
        return features

    def embedding(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to the pooled feature vector, ``float32[N, F]``.

        ``F`` is :attr:`num_features`.
        """
        return self.forward_features(x).mean((2, 3))

    def feature_maps(self, x: Tensor) -> dict[int, Tensor]:
        """Return the block outputs at strides 4, 8, 16 and 32, for detection and segmentation.

        Each is ``float32[N, feature_channels[stride], H/stride, W/stride]``.
        """
        maps: dict[int, Tensor] = {}
        ends = {index: stride for stride, index in self.feature_ends}
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in ends:
                maps[ends[index]] = x
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to logits, ``float32[N, num_classes]``."""
        logits: Tensor = self.classifier(self.dropout(self.neck(self.embedding(x))))
        return logits


def _last_block_at_each_stride(blocks: Sequence[BlockSetting]) -> tuple[tuple[int, int], ...]:
    ends: dict[int, int] = {}
    stride = 2
    for index, block in enumerate(blocks):
        stride *= block.stride
        ends[stride] = index
    return tuple((stride, index) for stride, index in ends.items() if stride >= 4)


def _initialise(module: nn.Module) -> None:
    """He initialisation by fan-out (He et al. 2015), as torchvision initialises MobileNetV2.

    Neither paper states an initialisation. A depthwise filter's fan-out counts its own outputs
    alone, as in the TensorFlow code of MnasNet and EfficientNet, which are built of the same
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
        nn.init.zeros_(module.bias)


class Structure(NamedTuple):
    """The size of a network."""

    trainable: int
    """Parameters that train."""
    total: int
    """Those, and batch norm's running means and variances."""
    macs: int
    """Multiply-adds of the convolutions and linear layers for one image."""


def measure_structure(network: nn.Module, in_channels: int = 3, size: int = 224) -> Structure:
    """Count the parameters and multiply-adds of ``network`` for one ``size``×``size`` image.

    One multiply-add counts as one operation. The network may live on the ``meta`` device, where
    counting costs no arithmetic.
    """
    macs = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d | nn.Linear)  # noqa: S101 - for the type checker
        per_output = module.weight.numel() // module.weight.shape[0]
        macs += output.numel() // output.shape[0] * per_output

    counted = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [module.register_forward_hook(count) for module in counted]
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.empty(1, in_channels, size, size, device=device))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    running = sum(b.numel() for b in network.buffers() if b.is_floating_point())
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    return Structure(trainable, trainable + frozen + running, macs)
