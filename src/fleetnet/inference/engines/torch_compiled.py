"""PyTorch, compiled for this machine by a C++ compiler, which has to be installed."""

from __future__ import annotations

import importlib
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines.engine import Precision, Setup
from fleetnet.inference.engines.runtime import Runtime
from fleetnet.inference.engines.torch import ENGINE as TORCH
from fleetnet.inference.engines.torch import TorchEngine, deployed, load_network, placed
from fleetnet.preprocess import Preprocess

if TYPE_CHECKING:
    import torch
    import torch._dynamo
    from torch import nn
else:
    torch = Runtime("torch")

__all__ = ["ENGINE", "CompiledTorchEngine", "open"]

_one_at_a_time = threading.RLock()


class CompiledTorchEngine(TorchEngine):
    """A network compiled by ``torch.compile``, its weights frozen; once for each batch size.

    All such engines of a process take turns. Any call may have to compile, and while PyTorch
    compiles, it sets flags of the whole process: a compiled network that runs at the same time
    would behave as if it were being traced.
    """

    name = "torch-compiled"

    def __init__(
        self, network: nn.Module, preprocess: Preprocess, threads: int, precision: Precision
    ) -> None:
        _many_networks()
        fast = deployed(network, precision).eval().requires_grad_(False)
        compiled = torch.compile(fast, dynamic=False, options={"freezing": True})
        super().__init__(fast, preprocess, threads, precision, compiled)
        self._turn = _one_at_a_time


def _many_networks() -> None:
    """Let PyTorch compile for more than eight combinations of network and batch size.

    All networks share the same code. After eight compilations of it, PyTorch would run uncompiled
    and only write a line to its log.
    """
    importlib.import_module("torch._dynamo")
    torch._dynamo.config.recompile_limit = 1024
    torch._dynamo.config.accumulated_recompile_limit = 1024


def open(bundle: Bundle, setup: Setup) -> CompiledTorchEngine:  # noqa: A001
    """Compile the bundle's network, which takes a minute.

    Raises:
        BundleError: the weights are absent, damaged, or not this network's.
        FleetnetError: it cannot be compiled here.
    """
    preprocess = bundle.manifest.preprocess
    network = placed(load_network(bundle), setup.device)
    side = preprocess.crop
    try:
        # Python's warning filters also belong to the whole process.
        with _one_at_a_time, warnings.catch_warnings():
            # PyTorch's code for frozen weights causes warnings itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            engine = CompiledTorchEngine(network, preprocess, setup.threads, setup.precision)
            callers = torch.get_num_threads()
            try:
                engine.run(np.zeros((1, side, side, 3), np.uint8))
            finally:
                torch.set_num_threads(callers)
    except Exception as error:
        # The compiler's exceptions share no public base class.
        reason = str(error).strip().partition("\n")[0]
        raise FleetnetError(
            f"torch.compile does not work here ({reason}): a C++ compiler is needed; the engine "
            "'torch' does without"
        ) from None
    return engine


ENGINE = replace(TORCH, name=CompiledTorchEngine.name, open=open, unasked=False)
