"""Checking that a state dict has only numbers and fits a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fleetnet import text
from fleetnet.errors import CheckpointError

_SHOWN = 10
"""How many entries of each kind an error lists."""


def check_finite(state: Mapping[str, Any], where: str) -> None:
    """Refuse weights that are not numbers in fp32, as left by a training that diverged.

    Raises:
        CheckpointError: there are NaN or infinite values; the message names the first tensor with
            some, and how many tensors have some.
    """
    tensors = {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not value.is_meta
    }
    wrong = [name for name, value in tensors.items() if not value.float().isfinite().all()]
    if wrong:
        more = f" ({len(wrong)} of {len(tensors)} tensors do)"
        raise CheckpointError(
            f"{where}: '{wrong[0]}' holds NaN or infinite values{more}, as a training "
            "that diverged leaves behind: take an earlier checkpoint"
        )


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


def some(keys: list[str], shown: int = _SHOWN) -> str:
    """Return the first keys as text, by default ten, and how many more there are."""
    return text.some(keys, shown)
