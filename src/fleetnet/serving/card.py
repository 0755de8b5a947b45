"""A model card: what a bundle says of itself, and what computes it here."""

from __future__ import annotations

import math
from typing import Any

from fleetnet.serving.models import Version


def card_of(version: Version) -> dict[str, Any]:
    """Return what is known of a version, as JSON values; numbers that are none become null."""
    loaded = version.loaded
    manifest, engine = loaded.bundle.manifest, loaded.classifier.engine
    told = manifest.model_dump(mode="json")
    card = {
        "model": version.model,
        "version": version.version,
        "bundle": loaded.hash,
        "network": manifest.model.name,
        "activation": manifest.model.activation,
        "classes": list(loaded.classes),
        "preprocess": told["preprocess"],
        "calibration": told["calibration"],
        "rejection": told["rejection"],
        "metrics": told["metrics"],
        "provenance": told["provenance"],
        "artifacts": told["artifacts"],
        "engine": {
            "name": engine.name,
            "precision": engine.precision,
            "device": engine.device,
            "threads": engine.threads,
            "batch": loaded.classifier.batch_size,
        },
        "embeddings": loaded.embeddings,
    }
    values: dict[str, Any] = _finite(card)
    return values


def _finite(value: Any) -> Any:
    """Return JSON values without the numbers that JSON has no words for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
