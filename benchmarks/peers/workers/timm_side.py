"""timm's networks and transforms, where torchvision's wheel does not import by itself."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch

_library = torch.library.Library("torchvision", "DEF")
"""Operators that torchvision's wheel lacks beside a CPU-only build of PyTorch."""
for _operator in ("nms", "qnms"):
    with contextlib.suppress(RuntimeError):  # a build that has it
        _library.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402 - it imports torchvision, which wants the operators


def timm_network(weights: str) -> Any:
    """Return the network that a file of weights is named after, in evaluation mode."""
    state = torch.load(weights, weights_only=True)
    name, _, _ = Path(weights).stem.partition(".")
    classes = next(value for key, value in reversed(state.items()) if key.endswith("bias")).shape[0]
    network = timm.create_model(name, num_classes=classes)
    network.load_state_dict(state)
    return network.eval()


def timm_transform(model: str) -> Any:
    """Return timm's transform for evaluating the network that a file is named after."""
    settings = timm.data.resolve_data_config(timm.get_pretrained_cfg(Path(model).stem).to_dict())
    return timm.data.create_transform(**settings)
