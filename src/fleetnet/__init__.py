"""Fleetnet: small, fast, verified image classifiers, from a folder of images to every device.

The names below are imported when first used, so that ``import fleetnet`` is quick and needs no
deep-learning framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetnet.bundle import Bundle
    from fleetnet.classifier import Classifier
    from fleetnet.errors import FleetnetError
    from fleetnet.export.bundle import export_bundle
    from fleetnet.inference.prediction import Prediction
    from fleetnet.preprocess import Preprocess
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import train
    from fleetnet.weights.create import create_model

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Classifier",
    "FleetnetError",
    "Prediction",
    "Preprocess",
    "Recipe",
    "create_model",
    "export_bundle",
    "train",
]

_HOMES = {
    "Bundle": "fleetnet.bundle",
    "Classifier": "fleetnet.classifier",
    "FleetnetError": "fleetnet.errors",
    "Prediction": "fleetnet.inference.classifier",
    "Preprocess": "fleetnet.preprocess",
    "Recipe": "fleetnet.training.recipe",
    "create_model": "fleetnet.weights.create",
    "export_bundle": "fleetnet.export.bundle",
    "train": "fleetnet.training.trainer",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fleetnet' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
