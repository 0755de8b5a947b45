"""Weights from a file of any known format, which is recognised from its content."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from fleetnet.errors import CheckpointError, one_line
from fleetnet.weights.pickles import read_pickle
from fleetnet.weights.state import read_torch

MAX_BYTES = 2 * 2**30
"""The largest network here takes 140 MB, and a few times that with an optimiser."""
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "network", "net", "module")
"""Keys under which training scripts keep the dict of weights, the averaged ones first."""
PREFIXES = ("module.", "_orig_mod.", "model.", "ema.")
_TORCH_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which files begin that PyTorch wrote before 1.6, pickled."""


@dataclass(frozen=True)
class WeightsFile:
    """What a file holds.

    Attributes:
        path: where it is.
        format: ``safetensors``, ``torch``, ``torch, before 1.6`` or ``PaddlePaddle``.
        state: tensors by name, as the file calls them, wrappers and prefixes taken off.
        unwrapped: the key that the weights were under, and the prefix their names had, if any.
    """

    path: Path
    format: str
    state: dict[str, Tensor]
    unwrapped: tuple[str, ...] = ()


def read_weights(path: str | Path) -> WeightsFile:
    """Read a weights file, trusting nothing in it.

    Raises:
        CheckpointError: missing, too large, of no known format, damaged, without tensors, or
            holding anything that could run code.
    """
    path = Path(path)
    content = _read(path)
    if content[:4] == b"PK\x03\x04":
        kind, found = "torch", read_torch(path)
    elif _TORCH_LEGACY in content[:32]:
        kind, found = "torch, before 1.6", read_torch(path)
    elif content[:1] == b"\x80":
        kind = "PaddlePaddle"
        found = {
            name: torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
            for name, value in read_pickle(content, path).items()
        }
    elif _is_safetensors(content):
        kind, found = "safetensors", _read_safetensors(content, path)
    else:
        raise CheckpointError(
            f"{path} is in no known format (known: .pdparams, .pth, .pt, .safetensors)"
        )
    state, unwrapped = unwrap(found)
    _check_tensors(state, path)
    return WeightsFile(path, kind, state, unwrapped)


def unwrap(found: Mapping[str, Any]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of a checkpoint by name, and what they were wrapped in."""
    steps: list[str] = []
    while key := next((key for key in WRAPPERS if isinstance(found.get(key), Mapping)), None):
        found = found[key]
        steps.append(key)
        if len(steps) > len(WRAPPERS):
            break
    state = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
            steps.append(prefix)
    return state, tuple(steps)


def _read(path: Path) -> bytes:
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - follows links as open does
        if size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES // 2**30} GiB")
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None


def _is_safetensors(content: bytes) -> bool:
    return len(content) > 9 and content[8:9] == b"{"


def _read_safetensors(content: bytes, path: Path) -> dict[str, Tensor]:
    (length,) = struct.unpack("<Q", content[:8])
    if length > len(content) - 8:
        raise CheckpointError(
            f"{path} claims a header of {length:,} bytes, but has {len(content):,} in all: it is "
            "truncated or no safetensors file"
        )
    try:
        return load_safetensors(content)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        reason = one_line(error)
        raise CheckpointError(f"{path} is a damaged safetensors file: {reason}") from None


def _check_tensors(state: dict[str, Tensor], path: Path) -> None:
    if not state:
        raise CheckpointError(f"{path} holds no weights")
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise CheckpointError(f"{path}: '{name[:80]}' is not a plain tensor: refused")
        # A tensor can claim more elements than it has by striding over the same ones again.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{path}: '{name[:80]}' claims more than the file holds: refused")
