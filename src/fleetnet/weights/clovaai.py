"""ReXNet's authors' code (clovaai/rexnet): layers numbered in flat sequences."""

from __future__ import annotations

from fleetnet.models.registry import ModelEntry
from fleetnet.weights.adapter import Adapter, Part, conv_norm


def sequential_rexnet(entry: ModelEntry) -> tuple[Part, ...] | None:
    """Number a ReXNet's layers as its authors' code does, which PaddleClas follows."""
    if entry.family != "rexnet":
        return None
    from fleetnet.models.rexnet import rexnet_setting

    setting = rexnet_setting(**entry.arguments)
    lite = bool(setting.neck)
    parts = [*conv_norm("stem", "features.0", "features.1")]
    for index, block in enumerate(setting.blocks):
        ours, out = f"blocks.{index}", f"features.{index + 3}.out"
        place = 0
        if block.expand:
            parts += conv_norm(f"{ours}.expand", f"{out}.0", f"{out}.1")
            place = 3
        parts += conv_norm(f"{ours}.depthwise", f"{out}.{place}", f"{out}.{place + 1}")
        place += 2
        if block.squeezed:
            squeeze = f"{out}.{place}.fc"
            parts += conv_norm(f"{ours}.se.reduce", f"{squeeze}.0", f"{squeeze}.1")
            parts.append(Part(f"{ours}.se.expand", f"{squeeze}.3", "conv"))
            place += 1
        place += 1  # ReLU6
        parts += conv_norm(f"{ours}.project", f"{out}.{place}", f"{out}.{place + 1}")
    head = len(setting.blocks) + 3
    parts += conv_norm("head", f"features.{head}", f"features.{head + 1}")
    if lite:
        parts.append(Part("neck.linear", "output.0", "conv-as-linear"))
        parts.append(Part("neck.norm", "output.1", "norm"))
        parts.append(Part("classifier", "output.4", "conv-as-linear"))
    else:
        parts.append(Part("classifier", "output.1", "conv-as-linear"))
    return tuple(parts)


ADAPTER = Adapter("clovaai", sequential_rexnet, norm_leaves={})
