"""PyTorch, eager: the reference that the others are verified against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, CheckpointError, require
from fleetnet.inference.engines import Logits
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess


class TorchEngine:
    """A network as a plain module, in fp32, on the device its parameters are on.

    ``threads`` counts for the whole process, as PyTorch has it; None leaves PyTorch's setting.
    """

    name = "torch"
    precision = "fp32"
    version: str = str(torch.__version__)

    def __init__(
        self, network: nn.Module, preprocess: Preprocess, threads: int | None = None
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()
        self._network = network
        self._device = next(network.parameters()).device
        scale, shift = preprocess.normalisation()
        self._scale = torch.from_numpy(scale).to(self._device)
        self._shift = torch.from_numpy(shift).to(self._device)

    @torch.inference_mode()
    def run(self, pixels: npt.NDArray[np.uint8]) -> Logits:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, K]``."""
        was_training = self._network.training
        self._network.eval()
        batch = torch.tensor(pixels, device=self._device)
        normalised = (batch.float() * self._scale + self._shift).permute(0, 3, 1, 2)
        logits = self._network(normalised).float().cpu().numpy()
        self._network.train(was_training)
        return np.asarray(logits, dtype=np.float32)


def open(bundle: Bundle, threads: int) -> TorchEngine:  # noqa: A001 - fleetnet...torch.open
    """Build the bundle's network and load its weights.

    Raises:
        BundleError: the weights are absent, damaged, or not this network's.
    """
    return TorchEngine(load_network(bundle), bundle.manifest.preprocess, threads)


def load_network(bundle: Bundle) -> nn.Module:
    """Build the bundle's network in evaluation mode, with its weights.

    Raises:
        BundleError: the weights are absent, damaged, or not this network's.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError:
        raise require("safetensors", "train", "the engine 'torch'") from None
    from fleetnet.weights.state import load_state

    path = bundle.artifact("weights")
    network = build_model(bundle.manifest.model.name, bundle.manifest.model.num_classes)
    try:
        load_state(network, load_file(path), str(path))
    except (SafetensorError, CheckpointError) as error:
        raise BundleError(f"cannot load {path}: {error}") from None
    return network.eval()
