"""The pieces that both families are built of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def make_divisible(channels: float, divisor: int) -> int:
    """Round ``channels`` to the nearest multiple of ``divisor``, never down by more than 10 %.

    The rule of the original TensorFlow MobileNet code, which torchvision, timm and ReXNet-lite
    share.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvNormAct(nn.Sequential):
    """A convolution with "same" padding, batch norm, and an activation unless ``act`` is None.

    Takes ``float32[N, in_channels, H, W]`` and gives ``float32[N, out_channels, H/stride,
    W/stride]``, rounded up.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        act: type[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=bias,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        if act is not None:
            self.act = act()


class LinearNormAct(nn.Sequential):
    """A linear layer, batch norm and an activation: ``float32[N, in]`` to ``float32[N, out]``."""

    def __init__(self, in_features: int, out_features: int, *, act: type[nn.Module]) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.norm = nn.BatchNorm1d(out_features)
        self.act = act()


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018) with batch norm inside, as ReXNet has it.

    Scales each channel of ``float32[N, C, H, W]`` by a gate computed from the spatial means.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = ConvNormAct(channels, squeezed, bias=True, act=nn.ReLU)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` times its gate, same shape."""
        gate: Tensor = self.expand(self.reduce(x.mean((2, 3), keepdim=True))).sigmoid()
        return x * gate


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops a residual branch for whole samples.

    In training each sample's branch is zeroed with probability ``rate`` and the survivors are
    scaled by ``1 / (1 - rate)``; in evaluation it does nothing.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with some samples zeroed, same shape."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        """Show the rate in the network's printout."""
        return f"rate={self.rate}"


class InvertedResidual(nn.Module):
    """Expand by 1×1, filter by depthwise 3×3, project by 1×1, and add the input where it fits.

    MobileNetV2's inverted residual with linear bottleneck (Sandler et al. 2018, section 3.3), and
    ReXNet's version of it (Han et al. 2021): there the output may have more channels than the
    input, which is then added to the first ``in_channels`` of the output.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        hidden: channels between the 1×1 convolutions.
        stride: of the depthwise convolution, 1 or 2.
        expand: whether the first 1×1 convolution exists; without it ``hidden == in_channels``.
        squeezed: channels inside squeeze-excitation, 0 for none.
        shortcut: whether the input is added to the output.
        expand_act: activation after the expansion.
        drop_path: probability of dropping the residual branch in training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden: int,
        stride: int,
        expand: bool,
        squeezed: int,
        shortcut: bool,
        expand_act: type[nn.Module],
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.expand = ConvNormAct(in_channels, hidden, act=expand_act) if expand else nn.Identity()
        self.depthwise = ConvNormAct(hidden, hidden, 3, stride=stride, groups=hidden)
        self.se = SqueezeExcite(hidden, squeezed) if squeezed else nn.Identity()
        self.act = nn.ReLU6()
        self.project = ConvNormAct(hidden, out_channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``float32[N, in_channels, H, W]`` to ``float32[N, out_channels, H', W']``."""
        y: Tensor = self.project(self.act(self.se(self.depthwise(self.expand(x)))))
        if not self.shortcut:
            return y
        y = self.drop_path(y)
        # Engines add a padded input faster than they cut the output up and join it again.
        extra = y.shape[1] - x.shape[1]
        return y + (functional.pad(x, (0, 0, 0, 0, 0, extra)) if extra else x)
