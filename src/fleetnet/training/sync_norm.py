"""Batch norm over the images of all processes that train together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Synchronised(_BatchNorm):
    """A batch norm on the processor, whose mean and variance in training are of the whole batch.

    It computes what one process would, except for the order in which sums are added. A process
    without images takes part. In evaluation it is the ordinary batch norm.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - PyTorch's name
        """Normalise ``[N, C, …]``."""
        if not self.training:
            return super().forward(input)
        assert self.momentum is not None  # noqa: S101 - of no family's
        assert self.running_mean is not None  # noqa: S101 - likewise
        assert self.running_var is not None  # noqa: S101 - likewise
        assert self.num_batches_tracked is not None  # noqa: S101 - likewise
        whole = input.to(torch.promote_types(input.dtype, torch.float32))
        mean, variance, count = _moments(whole)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shape = (1, -1, *[1] * (input.ndim - 2))
        normal = (whole - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """Of ``[N, C]``."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """Of ``[N, C, H, W]``."""


_TWINS: dict[type[nn.Module], type[nn.BatchNorm1d | nn.BatchNorm2d]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
}


def synchronise_norms(network: nn.Module) -> None:
    """Replace each batch norm by one over all processes, with the same parameters and buffers.

    On CUDA devices that is PyTorch's own, which computes nowhere else.
    """
    if next(network.parameters()).device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    for name, module in list(network.named_modules()):
        if type(module) not in _TWINS:
            continue
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)  # noqa: S101 - for mypy
        twin = _TWINS[type(module)](module.num_features, module.eps, module.momentum)
        for key, parameter in module.named_parameters(recurse=False):
            twin.register_parameter(key, parameter)
        for key, buffer in module.named_buffers(recurse=False):
            twin.register_buffer(key, buffer)
        network.set_submodule(name, twin)


def average_statistics(network: nn.Module, part: Tensor | float) -> None:
    """Replace what the batch norms have gathered by the mean over all processes.

    Frozen ones, which gather nothing, stay as they are to the bit.

    Args:
        network: whose batch norms each process has run on its own images.
        part: of the images, those of this process; all parts add up to 1.
    """
    gathered = [
        buffer
        for module in network.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.training
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
    if not gathered:
        return
    with torch.no_grad():
        flat = torch.cat([buffer.flatten() for buffer in gathered]) * part
        distributed.all_reduce(flat)
        sizes = [buffer.numel() for buffer in gathered]
        for buffer, mean in zip(gathered, torch.split(flat, sizes), strict=True):
            buffer.copy_(mean.view_as(buffer))


def _moments(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance of each channel over all processes, and how many values each had."""
    inner = [0, *range(2, pixels.ndim)]
    shape = (1, -1, *[1] * (pixels.ndim - 2))
    own = pixels.new_tensor([pixels.numel() // pixels.shape[1]])
    sums = _summed(torch.cat([pixels.sum(inner), own]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    # From the mean, not from the sum of the squares, in which small variances would be lost.
    variance = _summed((pixels - mean.view(shape)).square().sum(inner)) / count
    return mean, variance, count


class _Sum(torch.autograd.Function):
    """A sum over all processes; so the gradient of what it goes into comes from all as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 - autograd's signature
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - likewise
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _summed(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total
