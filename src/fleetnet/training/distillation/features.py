"""Feature maps from within networks, matched by their stride."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from fleetnet.models.base import Network

SMALLEST = 2
"""Side of a feature map that still has a picture of where the network looks."""


def stages_by_stride(network: nn.Module, size: int) -> dict[int, nn.Module]:
    """Return the module that gives the last feature map of each stride.

    Of our networks these are blocks; of others, any module that is called with a tensor.

    Args:
        network: takes ``float32[N, 3, size, size]``; its weights and statistics stay as they are.
        size: side of its images, px.
    """
    found: dict[int, nn.Module] = {}
    modules = (
        [module for stage in network.stages() for module in stage.modules.values()]
        if isinstance(network, Network)
        else list(network.modules())
    )
    training = [module for module in network.modules() if module.training]
    device = next(network.parameters()).device
    network.eval()
    try:
        with torch.inference_mode(), captured(modules) as maps:
            network(torch.zeros(1, 3, size, size, device=device))
    finally:
        for module in training:
            module.training = True
    for module, output in maps.items():  # in the order in which they ran
        if output.ndim == 4 and output.shape[2] == output.shape[3] >= SMALLEST:
            found[round(size / output.shape[2])] = module
    return found


def shared_strides(
    student: Mapping[int, nn.Module], teachers: Iterable[Mapping[int, nn.Module]]
) -> list[int]:
    """Return the strides above 1 of which all have a feature map, in order."""
    shared = set(student).intersection(*map(set, teachers))
    return sorted(stride for stride in shared if stride > 1)


@contextlib.contextmanager
def captured(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Keep what modules give while the block runs: the last output of each, in order of running."""
    maps: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            maps.pop(module, None)
            maps[module] = output

    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(keep).remove)
        yield maps
