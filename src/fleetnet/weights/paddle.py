"""PaddleClas 2.6 (``ppcls/arch/backbone/model_zoo``): MobileNetV2 and ReXNet."""

from __future__ import annotations

from fleetnet.models.registry import ModelEntry
from fleetnet.weights.adapter import Adapter, Part, conv_norm
from fleetnet.weights.clovaai import sequential_rexnet


def paddle_parts(entry: ModelEntry) -> tuple[Part, ...] | None:
    """Name the layers as PaddleClas does; it has no rounded MobileNetV2 and no ReXNet-lite."""
    if entry.family == "rexnet":
        return None if entry.arguments.get("lite") else sequential_rexnet(entry)
    if entry.arguments.get("layout", "truncated") != "truncated":
        return None
    from fleetnet.models.mobilenetv2 import STAGES

    parts = [*_conv_bn("stem", "conv1")]
    index = 0
    for number, stage in enumerate(STAGES, start=2):
        for repeat in range(stage.repeats):
            inner = "_first_block" if repeat == 0 else f"conv{number}_{repeat + 1}"
            unit = f"conv{number}.{inner}"
            parts += _conv_bn(f"blocks.{index}.expand", f"{unit}._expand_conv")
            parts += _conv_bn(f"blocks.{index}.depthwise", f"{unit}._bottleneck_conv")
            parts += _conv_bn(f"blocks.{index}.project", f"{unit}._linear_conv")
            index += 1
    parts += _conv_bn("head", "conv9")
    parts.append(Part("classifier", "out", "linear"))
    return tuple(parts)


def _conv_bn(ours: str, theirs: str) -> tuple[Part, Part]:
    return conv_norm(ours, f"{theirs}._conv", f"{theirs}._batch_norm")


ADAPTER = Adapter(
    "PaddleClas",
    paddle_parts,
    norm_leaves={"running_mean": "_mean", "running_var": "_variance"},
    transposes_linear=True,
)
