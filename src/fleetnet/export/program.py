"""The deployable network as PyTorch writes it, for converters that start from there."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.onnx import Deployable
from fleetnet.export.reweighted import weights_in
from fleetnet.inference.engines.torch import load_network
from fleetnet.models.base import Network
from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.padding import pad_channels
from fleetnet.preprocess import Preprocess

PROGRAM = "program.pt2"
TRACED = "network.pt"


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
    """The same logits of the same pixels, in planes of colours and as floating-point numbers.

    The scale stays outside of the weights: folded into them, as :class:`Deployable` does, it makes
    many so small that 16 bits hold them badly. Weights of a graph in int8 have it in them, and so
    steps for each output; there it is none.
    """

    scale: Tensor | None
    shift: Tensor

    def __init__(self, network: nn.Module, preprocess: Preprocess, *, scaled: bool) -> None:
        super().__init__()
        scale, shift = map(torch.from_numpy, preprocess.normalisation())
        self.register_buffer("scale", None if scaled else scale.reshape(1, 3, 1, 1))
        shift = shift / scale if scaled else shift
        self.register_buffer("shift", shift.reshape(1, 3, 1, 1))
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Map ``float32[N, 3, crop, crop]``, from 0 to 255, to ``float32[N, K]``."""
        scaled = pixels if self.scale is None else pixels * self.scale
        logits: Tensor = self.network(scaled + self.shift)
        return logits


def deployable_of(bundle: Bundle) -> nn.Module:
    """Return a bundle's network as a module from ``uint8[N, crop, crop, 3]`` to logits.

    Raises:
        BundleError: its weights are absent or damaged.
        FleetnetError: of a :class:`Reweighted` one, the weights are those of another network.
    """
    return _Logits(_deployable(bundle)).eval()


def _deployable(bundle: Bundle) -> Deployable:
    """Return the network as the bundle's graph has it, with the weights that it is to have."""
    deployable = Deployable(load_network(bundle), bundle.manifest.preprocess)
    weights = weights_in(bundle)
    if weights is not None:
        own = deployable.network.state_dict()
        for name, value in weights.tensors.items():
            if name not in own or own[name].shape != value.shape:
                raise FleetnetError(
                    f"{bundle.path}: the weights '{name}' of its graph in int8 are none of its "
                    "network: 'fleetnet quantize' makes int8 anew"
                )
            own[name] = torch.from_numpy(np.array(value))
        deployable.network.load_state_dict(own)
    return deployable


def planes_network_of(bundle: Bundle) -> nn.Module:
    """Return a bundle's network as a module from ``float32[N, 3, crop, crop]`` to logits.

    Its pixels are RGB, from 0 to 255: normalisation is inside, as in :func:`deployable_of`.

    Raises:
        BundleError: its weights are absent or damaged.
        FleetnetError: of a :class:`Reweighted` one, the weights are those of another network.
    """
    preprocess = bundle.manifest.preprocess
    if weights_in(bundle) is not None:
        return _OfPlanes(_deployable(bundle).network, preprocess, scaled=True).eval()
    network = load_network(bundle)
    assert isinstance(network, Network)  # noqa: S101 - for the type checker
    folded = pad_channels(fold_batch_norm(network))
    return _OfPlanes(folded, preprocess, scaled=False).eval()


def example_of(bundle: Bundle, batch: int, *, planes: bool = False) -> Tensor:
    """Return black images as :func:`program_of` takes them."""
    crop = bundle.manifest.preprocess.crop
    if planes:
        return torch.zeros(batch, 3, crop, crop)
    return torch.zeros(batch, crop, crop, 3, dtype=torch.uint8)


def program_of(
    bundle: Bundle, batch: int = 1, *, planes: bool = False, dtype: torch.dtype = torch.uint8
) -> torch.export.ExportedProgram:
    """Export a bundle's network for batches of one size.

    It is :func:`deployable_of`, or :func:`planes_network_of` where ``planes`` are asked for: from
    ``uint8[batch, crop, crop, 3]`` or ``float32[batch, 3, crop, crop]``, RGB, to logits,
    ``float32[batch, K]``; normalisation is inside and batch norm folded. The bytes of
    the former may be of another ``dtype``, from 0 to 255 still.

    Raises:
        BundleError: its weights are absent or damaged.
    """
    module = planes_network_of(bundle) if planes else deployable_of(bundle)
    example = example_of(bundle, batch, planes=planes)
    example = example if planes else example.to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (example,))


def exported_program(
    bundle: Bundle, batch: int = 1, *, planes: bool = False, dtype: torch.dtype = torch.uint8
) -> bytes:
    """Return :func:`program_of` as ``torch.export.load`` reads it.

    Raises:
        BundleError: the bundle's weights are absent or damaged.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program_of(bundle, batch, planes=planes, dtype=dtype), buffer)
    return buffer.getvalue()


def traced_network(bundle: Bundle) -> bytes:
    """Return what ``torch.jit.load`` reads: :func:`planes_network_of` for one image.

    Raises:
        BundleError: the bundle's weights are absent or damaged.
    """
    crop = bundle.manifest.preprocess.crop
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(planes_network_of(bundle), torch.zeros(1, 3, crop, crop))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer)
    return buffer.getvalue()
