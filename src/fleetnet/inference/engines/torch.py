"""PyTorch, eager: in fp32 the reference that the others are verified against."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import (
    BundleError,
    CheckpointError,
    FleetnetError,
    ModelError,
    one_line,
    require,
)
from fleetnet.inference.engines.closing import Closing
from fleetnet.inference.engines.engine import CPU, Logits, Pixels, Precision, Setup
from fleetnet.inference.engines.kind import EngineKind, Takes
from fleetnet.inference.engines.runtime import Runtime
from fleetnet.preprocess import Preprocess

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fleetnet.models.normalisation import Normalisation
else:
    torch = Runtime("torch")

Forward = Callable[["torch.Tensor"], "torch.Tensor"]


class _Network(NamedTuple):
    """What computes logits from normalised images, with its layers."""

    forward: Forward
    layers: tuple[nn.Module, ...]


class TorchEngine(Closing[_Network]):
    """A network as a plain module, computed as it is, on the device of its parameters.

    Callers take turns: a batch has all of the threads. ``threads`` is PyTorch's setting for the
    calling thread and for those started later. It is set in each turn if it differs; None leaves it
    as it is.

    Args:
        network: in any mode; it is in evaluation mode while it computes here.
        preprocess: how its input is normalised.
        threads: how many to compute with.
        precision: of its parameters.
        forward: called instead of ``network`` itself.
    """

    name = "torch"

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        threads: int | None = None,
        precision: Precision = "fp32",
        forward: Forward | None = None,
    ) -> None:
        self.version = str(torch.__version__)
        self._asked = threads
        self.threads = torch.get_num_threads() if threads is None else threads
        self.precision = precision
        self._dtype = _dtype(precision)
        self._turn = threading.RLock()
        self._device = next(network.parameters()).device
        self.device = str(self._device)
        self._normalise = _normalisation(preprocess, self._device)
        layers = tuple(network.modules())
        super().__init__(_Network(network if forward is None else forward, layers))

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        return self._compute(self._taken(), pixels)

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, one after another: PyTorch's threads share a batch."""
        network = self._taken()
        for batch in batches:
            yield self._compute(network, batch)

    def _compute(self, network: _Network, pixels: Pixels) -> Logits:
        with self._turn, _in_evaluation_mode(network.layers), torch.inference_mode():
            if self._asked is not None and torch.get_num_threads() != self._asked:
                torch.set_num_threads(self._asked)
            batch = torch.tensor(pixels, device=self._device)
            normalised = self._normalise(batch).to(self._dtype)
            logits = network.forward(normalised).float().cpu().numpy()
            return np.asarray(logits, dtype=np.float32)


def _normalisation(preprocess: Preprocess, device: torch.device) -> Normalisation:
    from fleetnet.models.normalisation import Normalisation

    return Normalisation(*preprocess.normalisation(), device)


def _dtype(precision: Precision) -> torch.dtype:
    from fleetnet.models.number_formats import DTYPES

    return DTYPES[precision]


@contextlib.contextmanager
def _in_evaluation_mode(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Put layers that are in training mode into evaluation mode, and restore them afterwards.

    Layer by layer, because some layers of a network in training may be frozen.
    """
    training = [layer for layer in layers if layer.training]
    for layer in training:
        layer.training = False
    try:
        yield
    finally:
        for layer in training:
            layer.training = True


def devices() -> tuple[str, ...]:
    """Return the processor, and the CUDA devices and Apple's GPU that PyTorch finds."""
    found = [CPU]
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        found += ["cuda"] if count == 1 else [f"cuda:{number}" for number in range(count)]
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def native(device: str) -> set[Precision]:
    """Return fp32, and bf16 and fp16 if the device has instructions for them."""
    from fleetnet.models.number_formats import multiplies_bf16

    if device == "mps":
        return {"fp32", "fp16"}
    if device != CPU:
        return {"fp32", "fp16", "bf16"} if multiplies_bf16("cuda") else {"fp32", "fp16"}
    return {"fp32", "bf16"} if multiplies_bf16() else {"fp32"}


def open(bundle: Bundle, setup: Setup) -> TorchEngine:  # noqa: A001 - fleetnet...torch.open
    """Build the bundle's network and load its weights.

    Raises:
        BundleError: the weights are absent, damaged, not numbers, or not this network's.
        FleetnetError: the device cannot hold them.
    """
    network = load_network(bundle)
    if setup.precision != "fp32":
        network = deployed(network, setup.precision)
    network = placed(network, setup.device)
    return TorchEngine(network, bundle.manifest.preprocess, setup.threads, setup.precision)


def placed(network: nn.Module, device: str) -> nn.Module:
    """Return a network with its weights on a device.

    Raises:
        FleetnetError: the device is full, or does not work.
    """
    try:
        return network.to(device)
    except Exception as error:
        # PyTorch raises errors of several kinds if a device is full, absent or broken.
        raise FleetnetError(f"torch cannot use the device {device}: {one_line(error)}") from None


def deployed(network: nn.Module, precision: Precision) -> nn.Module:
    """Return a copy made for speed: batch norm folded, channels last, in ``precision``."""
    from fleetnet.models.folding import fold_batch_norm

    folded = fold_batch_norm(network).to(_dtype(precision))
    channels_last: nn.Module = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return channels_last


def load_network(bundle: Bundle) -> nn.Module:
    """Build the bundle's network in evaluation mode, with its weights.

    Raises:
        BundleError: the network is not known here, or its weights are absent, damaged, not numbers,
            or of another one.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ModuleNotFoundError:
        raise require("safetensors", "train", "the engine 'torch'") from None
    from fleetnet.models.registry import build_model, told_model
    from fleetnet.weights.state import check_finite, load_state

    path, content = bundle.content(format="safetensors")
    try:
        manifest = bundle.manifest
        entry = told_model(*manifest.network)
        network = build_model(entry.name, manifest.model.num_classes)
    except ModelError as error:
        raise BundleError(f"{bundle.path}: {error}") from None
    try:
        state = load(content)
        check_finite(state, str(path))
        load_state(network, state, str(path))
    except (SafetensorError, CheckpointError) as error:
        raise BundleError(f"cannot load {path}: {error}") from None
    return network.eval()


ENGINE = EngineKind(
    name=TorchEngine.name,
    needs="torch",
    title="PyTorch",
    extra="train",
    takes={precision: Takes("safetensors") for precision in ("fp32", "bf16", "fp16")},
    open=open,
    devices=devices,
    native=native,
    shares_batches=True,
)
