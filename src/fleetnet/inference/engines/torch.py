"""PyTorch, eager: in fp32 the reference that the others are verified against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, CheckpointError, require
from fleetnet.inference.engines import Logits, Pixels, Precision, Setup
from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """A network as a plain module, computed as it is, on the device its parameters are on.

    ``threads`` counts for the whole process, as PyTorch has it, and is set again where another
    engine has set it meanwhile; None leaves PyTorch's setting.
    """

    name = "torch"
    version: str = str(torch.__version__)

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        threads: int | None = None,
        precision: Precision = "fp32",
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._asked = threads
        self.threads = torch.get_num_threads()
        self.precision = precision
        self._dtype = _DTYPES[precision]
        self._network = network
        self._forward: Callable[[torch.Tensor], torch.Tensor] = network
        self._device = next(network.parameters()).device
        scale, shift = preprocess.normalisation()
        self._scale = torch.from_numpy(scale).to(self._device)
        self._shift = torch.from_numpy(shift).to(self._device)

    @torch.inference_mode()
    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        if self._asked is not None and torch.get_num_threads() != self._asked:
            torch.set_num_threads(self._asked)
        was_training = self._network.training
        self._network.eval()
        batch = torch.tensor(pixels, device=self._device)
        normalised = (batch.float() * self._scale + self._shift).permute(0, 3, 1, 2)
        logits = self._forward(normalised.to(self._dtype)).float().cpu().numpy()
        self._network.train(was_training)
        return np.asarray(logits, dtype=np.float32)

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, one after another: PyTorch has its threads share one."""
        yield from map(self.run, batches)


def precisions(bundle: Bundle) -> tuple[Precision, ...]:  # noqa: ARG001 - those of any bundle
    """Return fp32, and bf16 where the processor multiplies such numbers itself."""
    # Before PyTorch 2.10 there is no public way to ask, and fp32 is always right.
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    native = able.get("avx512_bf16") or able.get("amx_bf16")
    return ("fp32", "bf16") if native else ("fp32",)


def open(bundle: Bundle, setup: Setup) -> TorchEngine:  # noqa: A001 - fleetnet...torch.open
    """Build the bundle's network and load its weights.

    Raises:
        BundleError: the weights are absent, damaged, or not this network's.
    """
    network = load_network(bundle)
    if setup.precision != "fp32":
        network = deployed(network, setup.precision)
    return TorchEngine(network, bundle.manifest.preprocess, setup.threads, setup.precision)


def deployed(network: nn.Module, precision: Precision) -> nn.Module:
    """Return a copy made for speed: batch norm folded, channels last, in ``precision``."""
    folded = fold_batch_norm(network).to(_DTYPES[precision])
    channels_last: nn.Module = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return channels_last


def load_network(bundle: Bundle) -> nn.Module:
    """Build the bundle's network in evaluation mode, with its weights.

    Raises:
        BundleError: the weights are absent, damaged, or not this network's.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ModuleNotFoundError:
        raise require("safetensors", "train", "the engine 'torch'") from None
    from fleetnet.weights.state import load_state

    path = bundle.artifact("weights")
    network = build_model(bundle.manifest.model.name, bundle.manifest.model.num_classes)
    try:
        load_state(network, load(path.read_bytes()), str(path))
    except (SafetensorError, CheckpointError) as error:
        raise BundleError(f"cannot load {path}: {error}") from None
    return network.eval()
