"""Choosing the number format that a run computes in."""

from __future__ import annotations

import torch

from fleetnet.models.number_formats import multiplies_bf16


def resolve(precision: str, device: torch.device) -> str:
    """Return ``fp32``, ``bf16`` or ``fp16``; ``auto`` is the fastest that ``device`` is built for.

    That is bf16 if the device has bf16 arithmetic. Otherwise it is fp32 on a CPU, which would
    emulate bf16, and fp16 on CUDA devices, which are then older than Ampere.
    """
    if precision != "auto":
        return precision
    if multiplies_bf16(device.type):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"
