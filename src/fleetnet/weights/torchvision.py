"""torchvision's ``mobilenet_v2``, at any width."""

from __future__ import annotations

from fleetnet.models.registry import ModelEntry
from fleetnet.weights.adapter import Adapter, Part, conv_norm


def torchvision_parts(entry: ModelEntry) -> tuple[Part, ...] | None:
    """Name the layers as torchvision does; it has the rounded MobileNetV2 alone."""
    arguments = entry.arguments
    if arguments.get("layout") != "rounded" or arguments.get("fix_stem_head"):
        return None
    from fleetnet.models.mobilenetv2 import mobilenetv2_setting

    setting = mobilenetv2_setting(**arguments)
    parts = [*conv_norm("stem", "features.0.0", "features.0.1")]
    for index, block in enumerate(setting.blocks):
        ours, conv = f"blocks.{index}", f"features.{index + 1}.conv"
        place = 0
        if block.expand:
            parts += conv_norm(f"{ours}.expand", f"{conv}.0.0", f"{conv}.0.1")
            place = 1
        parts += conv_norm(f"{ours}.depthwise", f"{conv}.{place}.0", f"{conv}.{place}.1")
        parts += conv_norm(f"{ours}.project", f"{conv}.{place + 1}", f"{conv}.{place + 2}")
    head = len(setting.blocks) + 1
    parts += conv_norm("head", f"features.{head}.0", f"features.{head}.1")
    parts.append(Part("classifier", "classifier.1", "linear"))
    return tuple(parts)


ADAPTER = Adapter("torchvision", torchvision_parts, norm_leaves={})
