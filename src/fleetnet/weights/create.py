"""A network by name, with weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetnet.errors import CheckpointError
from fleetnet.models.registry import build_model

if TYPE_CHECKING:
    from fleetnet.models.network import Network


def create_model(
    name: str, num_classes: int = 1000, weights: str | Path | None = None, **arguments: Any
) -> Network:
    """Build the network called ``name``, a plain ``torch.nn.Module``.

    Args:
        name: as in ``fleetnet models``, without regard to case.
        num_classes: length of the logits.
        weights: path of a Fleetnet checkpoint of the same network; None for a fresh
            initialisation.
        arguments: ``in_channels``, ``dropout``, ``drop_path`` (see
            :class:`fleetnet.models.network.Network`).

    Returns:
        A module that takes normalised ``float32[N, in_channels, H, W]`` and gives
        ``float32[N, num_classes]``.

    Raises:
        ModelError: unknown name or argument.
        CheckpointError: ``weights`` cannot be read, or do not fit the network.
    """
    network = build_model(name, num_classes, **arguments)
    if weights is not None:
        from fleetnet.weights.state import load_state, read_torch

        content = read_torch(Path(weights))
        state = content.get("model", content)
        if not isinstance(state, dict):
            raise CheckpointError(f"{weights} holds no weights")
        load_state(network, state, str(weights))
    return network
