"""The deployable network as ``torch.export`` writes it, for converters that start from PyTorch."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor, nn

from fleetnet.bundle import Bundle
from fleetnet.export.onnx import Deployable
from fleetnet.inference.engines.torch import load_network

PROGRAM = "program.pt2"


class _Logits(nn.Module):
    """The logits alone: what follows them is a line in any language."""

    def __init__(self, deployable: Deployable) -> None:
        super().__init__()
        self.deployable = deployable

    def forward(self, pixels: Tensor) -> Tensor:
        """Map ``uint8[N, crop, crop, 3]`` to ``float32[N, K]``."""
        logits: Tensor = self.deployable(pixels)[0]
        return logits


def deployable_of(bundle: Bundle) -> nn.Module:
    """Return a bundle's network as a module from ``uint8[N, crop, crop, 3]`` to logits.

    Raises:
        BundleError: its weights are absent or damaged.
    """
    preprocess = bundle.manifest.preprocess
    return _Logits(Deployable(load_network(bundle), preprocess)).eval()


def exported_program(bundle: Bundle, batch: int = 1) -> bytes:
    """Return what ``torch.export.load`` reads: the network for batches of one size.

    It takes ``uint8[batch, crop, crop, 3]``, RGB, and gives logits, ``float32[batch, K]``;
    normalisation is inside and batch norm folded.

    Raises:
        BundleError: the bundle's weights are absent or damaged.
    """
    crop = bundle.manifest.preprocess.crop
    example = torch.zeros(batch, crop, crop, 3, dtype=torch.uint8)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(deployable_of(bundle), (example,)), buffer)
    return buffer.getvalue()
