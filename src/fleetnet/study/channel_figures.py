"""What a study of channels says: each network's figures, and how rank and accuracy go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fleetnet.study.channel_study import ChannelLine, ChannelSettings, best_of, drawn
from fleetnet.study.correlation import Correlation, correlation


def channel_correlation(results: Sequence[ChannelLine]) -> Correlation | None:
    """Return how rank and accuracy go together over the networks that were drawn.

    The references are left out: nobody drew them at random.
    """
    lines = drawn(results)
    return correlation(
        np.array([line.rank for line in lines]), np.array([line.top1 for line in lines])
    )


def channel_json(
    results: Sequence[ChannelLine], found: Correlation | None, settings: ChannelSettings
) -> dict[str, Any]:
    """Return a study as JSON values."""
    return {
        "format": "fleetnet-study-channels",
        "format_version": 1,
        "settings": settings.model_dump(mode="json"),
        "networks": [line.model_dump(mode="json") for line in results],
        "best": best_of(results).name,
        "correlation": None
        if found is None
        else {
            "networks": found.networks,
            "pearson": round(found.pearson, 4),
            "pearson_interval": [round(end, 4) for end in found.pearson_interval],
            "spearman": round(found.spearman, 4),
            "spearman_interval": [round(end, 4) for end in found.spearman_interval],
        },
    }
