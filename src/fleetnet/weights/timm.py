"""timm's ``mobilenetv2_*`` and ``rexnet_*``."""

from __future__ import annotations

from fleetnet.models.registry import ModelEntry
from fleetnet.weights.adapter import Adapter, Part, conv_norm


def timm_parts(entry: ModelEntry) -> tuple[Part, ...] | None:
    """Name the layers as timm does; it has no truncated MobileNetV2 and no ReXNet-lite."""
    if entry.family == "rexnet":
        return None if entry.arguments.get("lite") else _rexnet_parts(entry)
    if entry.arguments.get("layout") != "rounded":
        return None
    return _mobilenetv2_parts(entry)


def _mobilenetv2_parts(entry: ModelEntry) -> tuple[Part, ...]:
    from fleetnet.models.mobilenetv2 import mobilenetv2_setting, stage_repeats

    setting = mobilenetv2_setting(**entry.arguments)
    repeats = stage_repeats(
        entry.arguments.get("depth_mult", 1.0),
        fix_first_last=entry.arguments.get("fix_stem_head", False),
    )
    parts = [*conv_norm("stem", "conv_stem", "bn1")]
    index = 0
    for stage, count in enumerate(repeats):
        for repeat in range(count):
            ours, theirs = f"blocks.{index}", f"blocks.{stage}.{repeat}"
            if setting.blocks[index].expand:
                parts += conv_norm(f"{ours}.expand", f"{theirs}.conv_pw", f"{theirs}.bn1")
                parts += conv_norm(f"{ours}.depthwise", f"{theirs}.conv_dw", f"{theirs}.bn2")
                parts += conv_norm(f"{ours}.project", f"{theirs}.conv_pwl", f"{theirs}.bn3")
            else:
                parts += conv_norm(f"{ours}.depthwise", f"{theirs}.conv_dw", f"{theirs}.bn1")
                parts += conv_norm(f"{ours}.project", f"{theirs}.conv_pw", f"{theirs}.bn2")
            index += 1
    parts += conv_norm("head", "conv_head", "bn2")
    parts.append(Part("classifier", "classifier", "linear"))
    return tuple(parts)


def _rexnet_parts(entry: ModelEntry) -> tuple[Part, ...]:
    from fleetnet.models.rexnet import rexnet_setting

    setting = rexnet_setting(**entry.arguments)
    parts = [*_conv_bn("stem", "stem")]
    for index, block in enumerate(setting.blocks):
        ours, theirs = f"blocks.{index}", f"features.{index}"
        if block.expand:
            parts += _conv_bn(f"{ours}.expand", f"{theirs}.conv_exp")
        parts += _conv_bn(f"{ours}.depthwise", f"{theirs}.conv_dw")
        if block.squeezed:
            parts += conv_norm(f"{ours}.se.reduce", f"{theirs}.se.fc1", f"{theirs}.se.bn")
            parts.append(Part(f"{ours}.se.expand", f"{theirs}.se.fc2", "conv"))
        parts += _conv_bn(f"{ours}.project", f"{theirs}.conv_pwl")
    parts += _conv_bn("head", f"features.{len(setting.blocks)}")
    parts.append(Part("classifier", "head.fc", "linear"))
    return tuple(parts)


def _conv_bn(ours: str, theirs: str) -> tuple[Part, Part]:
    return conv_norm(ours, f"{theirs}.conv", f"{theirs}.bn")


ADAPTER = Adapter("timm", timm_parts, norm_leaves={})
