"""The networks, by name."""

from fleetnet.models.registry import MODELS, ModelEntry, build_model, find_model

__all__ = ["MODELS", "ModelEntry", "build_model", "find_model"]
