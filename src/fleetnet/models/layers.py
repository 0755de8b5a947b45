"""The pieces that the families are built of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fleetnet.models.base import Rounded

Padding = Literal["symmetric", "same"]
"""How a convolution pads: the same on both sides, or as TensorFlow's ``SAME`` does."""


def make_divisible(channels: float, divisor: int) -> int:
    """Round ``channels`` to the nearest multiple of ``divisor``, never down by more than 10 %.

    The rule of the original TensorFlow MobileNet code, which torchvision, timm and ReXNet-lite
    share.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class SamePad(nn.Module):
    """Zeros around an image as in TensorFlow's ``SAME``: an odd one goes to the right or below.

    How many there are depends on the size of the image: a 3×3 convolution of stride 2 over an even
    number of pixels gets a row below and none above, where the usual padding has one above.
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return ``float32[N, C, H, W]`` with zeros around it."""
        height, width = (self._missing(side) for side in x.shape[2:])
        sides = (width // 2, width - width // 2, height // 2, height - height // 2)
        return functional.pad(x, sides)

    def _missing(self, side: int) -> int:
        steps = -(-side // self.stride)
        return max((steps - 1) * self.stride + self.kernel_size - side, 0)

    def extra_repr(self) -> str:
        """Show the kernel and stride in the network's printout."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class ConvNormAct(nn.Sequential):
    """A convolution with padding, batch norm, and an activation unless ``act`` is None.

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
        padding: Padding = "symmetric",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        # With a stride of 1 and odd kernels the two paddings are the same.
        before = padding == "same" and stride > 1
        if before:
            self.pad = SamePad(kernel_size, stride)
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=0 if before else kernel_size // 2,
            groups=groups,
            bias=bias,
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=norm_eps)
        if act is not None:
            self.act = act()

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        out_channels = rounded(self.conv.out_channels)
        widen_weights(self.conv, out_channels, in_channels)
        return out_channels


class ConvAct(nn.Sequential):
    """A 1×1 convolution and an activation: ``float32[N, C, H, W]`` to as many pixels.

    The activation is a module, for those that have settings.
    """

    def __init__(
        self, in_channels: int, out_channels: int, act: nn.Module, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        self.act = act

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        out_channels = rounded(self.conv.out_channels)
        widen_weights(self.conv, out_channels, in_channels)
        return out_channels


class PooledConvAct(ConvAct):
    """A 1×1 convolution of pooled features, with an activation: ``float32[N, C]`` to ``[N, D]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``float32[N, out_channels]``."""
        y: Tensor = self.act(self.conv(x[:, :, None, None]))
        return y.flatten(1)

    def widen(self, in_channels: int, rounded: Rounded) -> int:  # noqa: ARG002 - its width stays
        """Take more inputs, see :class:`fleetnet.models.base.Widening`."""
        widen_weights(self.conv, self.conv.out_channels, in_channels)
        return self.conv.out_channels


class LinearNormAct(nn.Sequential):
    """A linear layer, batch norm unless told otherwise, and an activation.

    Takes ``float32[N, in_features]`` and gives ``float32[N, out_features]``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        act: type[nn.Module],
        bias: bool = True,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        if norm:
            self.norm = nn.BatchNorm1d(out_features)
        self.act = act()

    def widen(self, in_channels: int, rounded: Rounded) -> int:  # noqa: ARG002 - its width stays
        """Take more inputs, see :class:`fleetnet.models.base.Widening`."""
        widen_weights(self.linear, self.linear.out_features, in_channels)
        return self.linear.out_features


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018) with batch norm inside, as in ReXNet.

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

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        squeezed = self.reduce.widen(in_channels, rounded)
        widen_weights(self.expand, in_channels, squeezed)
        return in_channels


class HardSigmoid(nn.Module):
    """A sigmoid of three straight lines: ``clip(slope * x + 1/2, 0, 1)``.

    MobileNetV3's slope is 1/6 (Howard et al. 2019, section 5.2); PaddleClas has 1/5 in some
    networks. After a convolution in an ``nn.Sequential``, slope and offset become part of its
    weights in a network for inference (:func:`fleetnet.models.folding.fold_batch_norm`), and only
    the clip is left, which engines compute within the convolution.
    """

    def __init__(self, slope: float = 1 / 6) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return numbers from 0 to 1, same shape."""
        return functional.hardsigmoid(x if self.slope == 1 / 6 else x * (6 * self.slope))

    def extra_repr(self) -> str:
        """Show the slope in the network's printout."""
        return f"slope={self.slope:g}"


class HardSqueezeExcite(nn.Module):
    """Squeeze-and-excitation without batch norm and with a gate of straight lines.

    As in MobileNetV3 and the networks that followed it. Scales each channel of ``float32[N, C, H,
    W]`` by a gate computed from the spatial means.

    Args:
        channels: of the input.
        squeezed: channels in between.
        gate: the last activation: :class:`HardSigmoid`, or any other that gives 0 to 1.
    """

    def __init__(self, channels: int, squeezed: int, gate: nn.Module) -> None:
        super().__init__()
        self.reduce = ConvAct(channels, squeezed, nn.ReLU())
        self.expand = ConvAct(squeezed, channels, gate)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` times its gate, same shape."""
        gate: Tensor = self.expand(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * gate

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        squeezed = self.reduce.widen(in_channels, rounded)
        return self.expand.widen(squeezed, lambda _: in_channels)


class DepthwiseSeparable(nn.Module):
    """Filter depthwise, then mix the channels by 1×1 (Howard et al. 2017, section 3.1).

    Takes ``float32[N, in_channels, H, W]`` and gives ``float32[N, out_channels, H/stride,
    W/stride]``, rounded up.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the depthwise convolution, 1 or 2.
        act: activation after each of the two.
        kernel_size: of the depthwise convolution.
        excite: squeeze-and-excitation between the two, if any.
    """

    composed_of = ("depthwise", "pointwise")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        act: type[nn.Module],
        kernel_size: int = 3,
        excite: HardSqueezeExcite | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(
            in_channels, in_channels, kernel_size, stride=stride, groups=in_channels, act=act
        )
        self.se = excite or nn.Identity()
        self.pointwise = ConvNormAct(in_channels, out_channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``float32[N, in_channels, H, W]`` to ``float32[N, out_channels, H', W']``."""
        y: Tensor = self.pointwise(self.se(self.depthwise(x)))
        return y

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        widen_depthwise(self.depthwise.conv, in_channels)
        if isinstance(self.se, HardSqueezeExcite):
            self.se.widen(in_channels, rounded)
        return self.pointwise.widen(in_channels, rounded)


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
    """Expand by 1×1, filter depthwise, project by 1×1, and add the input if it fits.

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
        act: activation after both the expansion and the depthwise convolution, before
            squeeze-excitation, as in MobileNetV3; None for ``expand_act`` after the one, and ReLU6
            after the other and squeeze-excitation.
        gate_slope: squeeze-excitation is that of MobileNetV3, with a :class:`HardSigmoid` of this
            slope; 0 for that of ReXNet.
        kernel_size: of the depthwise convolution.
        padding: of the depthwise convolution.
        norm_eps: what batch norm adds to the variance.
        drop_path: probability of dropping the residual branch in training.
    """

    composed_of = ("expand", "depthwise", "project")

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
        act: type[nn.Module] | None = None,
        gate_slope: float = 0.0,
        kernel_size: int = 3,
        padding: Padding = "symmetric",
        norm_eps: float = 1e-5,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.expand: nn.Module = nn.Identity()
        if expand:
            self.expand = ConvNormAct(in_channels, hidden, act=act or expand_act, norm_eps=norm_eps)
        self.depthwise = ConvNormAct(
            hidden,
            hidden,
            kernel_size,
            stride=stride,
            groups=hidden,
            act=act,
            padding=padding,
            norm_eps=norm_eps,
        )
        self.se: nn.Module = nn.Identity()
        if squeezed and gate_slope:
            self.se = HardSqueezeExcite(hidden, squeezed, HardSigmoid(gate_slope))
        elif squeezed:
            self.se = SqueezeExcite(hidden, squeezed)
        self.act = nn.Identity() if act else nn.ReLU6()
        self.project = ConvNormAct(hidden, out_channels, norm_eps=norm_eps)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``float32[N, in_channels, H, W]`` to ``float32[N, out_channels, H', W']``."""
        y: Tensor = self.project(self.act(self.se(self.depthwise(self.expand(x)))))
        if not self.shortcut:
            return y
        y = self.drop_path(y)
        # Engines add a padded input faster than they split and concatenate the output.
        extra = y.shape[1] - x.shape[1]
        return y + (functional.pad(x, (0, 0, 0, 0, 0, extra)) if extra else x)

    def zero_residual(self) -> None:
        """Start as only the shortcut: the last batch norm gets zeros for its weight."""
        if self.shortcut:
            nn.init.zeros_(self.project.norm.weight)

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        hidden = in_channels
        if isinstance(self.expand, ConvNormAct):
            hidden = self.expand.widen(in_channels, rounded)
        widen_depthwise(self.depthwise.conv, hidden)
        if isinstance(self.se, SqueezeExcite | HardSqueezeExcite):
            self.se.widen(hidden, rounded)
        return self.project.widen(hidden, rounded)


def widen_depthwise(layer: nn.Conv2d, channels: int) -> None:
    """Add zeros to the weights of a depthwise convolution, for ``channels`` in all."""
    widen_weights(layer, channels, 1)
    layer.in_channels = layer.groups = channels


def widen_weights(layer: nn.Conv2d | nn.Linear, outputs: int, inputs: int) -> None:
    """Add zeros to the weights and biases of a layer, for more outputs and inputs.

    Args:
        layer: the layer to widen.
        outputs: how many outputs it has afterwards.
        inputs: how many inputs it has afterwards, for each group of a convolution.
    """
    weight = torch.zeros(outputs, inputs, *layer.weight.shape[2:], dtype=layer.weight.dtype)
    bias = torch.zeros(outputs, dtype=layer.weight.dtype)
    weight[: layer.weight.shape[0], : layer.weight.shape[1]] = layer.weight.detach()
    bias[: layer.weight.shape[0]] = 0 if layer.bias is None else layer.bias.detach()
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    if isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = inputs, outputs
    else:
        layer.in_channels, layer.out_channels = inputs, outputs
