"""Reading a state dict from a file that may be hostile, and fitting it to a network."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fleetnet.errors import CheckpointError, one_line

_SHOWN = 10
"""How many entries of each kind an error lists."""


def read_torch(path: Path) -> dict[str, Any]:
    """Read a file that ``torch.save`` wrote, letting it hold tensors and plain values alone.

    Raises:
        CheckpointError: missing, unreadable, truncated, not such a file, an archive that unpacks
            to more than it is, or holding anything that could run code.
    """
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            detail = one_line(error)
            blocked = detail.partition("Unsupported global: GLOBAL ")[2].split(" ")[0]
            what = f"holds '{blocked}'" if blocked else "holds more than tensors and plain values"
            raise CheckpointError(f"{path} {what}, which could run code: refused") from None
        raise CheckpointError(f"{path} is not a checkpoint") from None
    except Exception:
        # On damaged files torch raises RuntimeError, EOFError, KeyError, … by where the damage is.
        raise CheckpointError(f"{path} is not a checkpoint, or it is damaged") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    return content


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: PyTorch stores without compression."""
    try:
        if not zipfile.is_zipfile(path):
            return
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except OSError:
        return  # loading says what is wrong
    except Exception:
        raise CheckpointError(f"{path} is not a checkpoint, or it is damaged") from None
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{path} is a compressed archive, as PyTorch never writes: refused")
    if sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(f"{path} claims to hold more than it does: refused")


def load_state(network: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Load ``state`` into ``network`` if every entry fits.

    Raises:
        CheckpointError: entries are missing, unexpected or of another shape; the message names
            them, at most ten of each kind.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} is {_shape(state[key])}, not {_shape(own[key])}"
        for key in own
        if key in state and _shape(state[key]) != _shape(own[key])
    ]
    problems = [
        f"{name}: {some(keys)}"
        for name, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("wrong shape", misshapen),
        )
        if keys
    ]
    if problems:
        raise CheckpointError(f"{where} does not fit the network; {'; '.join(problems)}")
    network.load_state_dict(dict(state))


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return "×".join(map(str, value.shape)) or "a number"


def some(keys: list[str]) -> str:
    """Return the first ten of ``keys`` as text, and how many more there are."""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
