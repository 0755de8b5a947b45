"""The network that a checkpoint of ours describes, because no name means it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fleetnet.models.registry import ModelEntry, told_model

FORMAT = "fleetnet-checkpoint"
"""What a checkpoint says that it is, as its ``format``."""


def declared_network(content: Any) -> ModelEntry | None:
    """Return the network that a file of weights describes, made known; None if it describes none.

    Args:
        content: of the file, from outside.

    Raises:
        ModelError: what is described is no network, or not the one that is named.
    """
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        return None
    try:
        described = json.loads(content["description"])
        name, settings = described["model"], described.get("network")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None  # the weights may still be those of a known network
    return told_model(str(name), settings) if settings is not None else None
