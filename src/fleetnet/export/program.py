"""The deployable network as PyTorch writes it, for converters that start from there."""

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


class _OfPlanes(nn.Module):
    """The same logits of the same pixels, in planes of colours and as floating-point numbers."""

    offset: Tensor

    def __init__(self, deployable: Deployable) -> None:
        super().__init__()
        self.network = deployable.network
        self.register_buffer("offset", deployable.offset[0].reshape(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map ``float32[N, 3, crop, crop]``, from 0 to 255, to ``float32[N, K]``."""
        logits: Tensor = self.network(pixels + self.offset)
        return logits


def deployable_of(bundle: Bundle) -> nn.Module:
    """Return a bundle's network as a module from ``uint8[N, crop, crop, 3]`` to logits.

    Raises:
        BundleError: its weights are absent or damaged.
    """
    return _Logits(_deployable(bundle)).eval()


def planes_network_of(bundle: Bundle) -> nn.Module:
    """Return a bundle's network as a module from ``float32[N, 3, crop, crop]`` to logits.

    Its pixels are RGB, from 0 to 255: normalisation is inside, as in :func:`deployable_of`.

    Raises:
        BundleError: its weights are absent or damaged.
    """
    return _OfPlanes(_deployable(bundle)).eval()


def _deployable(bundle: Bundle) -> Deployable:
    return Deployable(load_network(bundle), bundle.manifest.preprocess)


def program_of(
    bundle: Bundle, batch: int = 1, *, planes: bool = False
) -> torch.export.ExportedProgram:
    """Export a bundle's network for batches of one size.

    It is :func:`deployable_of`, or :func:`planes_network_of` where ``planes`` are asked for: from
    ``uint8[batch, crop, crop, 3]`` or ``float32[batch, 3, crop, crop]``, RGB, to logits,
    ``float32[batch, K]``; normalisation is inside and batch norm folded.

    Raises:
        BundleError: its weights are absent or damaged.
    """
    crop = bundle.manifest.preprocess.crop
    if planes:
        module, example = planes_network_of(bundle), torch.zeros(batch, 3, crop, crop)
    else:
        module = deployable_of(bundle)
        example = torch.zeros(batch, crop, crop, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (example,))


def exported_program(bundle: Bundle, batch: int = 1, *, planes: bool = False) -> bytes:
    """Return :func:`program_of` as ``torch.export.load`` reads it.

    Raises:
        BundleError: the bundle's weights are absent or damaged.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program_of(bundle, batch, planes=planes), buffer)
    return buffer.getvalue()
