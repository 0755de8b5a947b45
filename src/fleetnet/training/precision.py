"""Which number format a run computes in."""

from __future__ import annotations

import torch

from fleetnet.models.number_formats import multiplies_bf16


def resolve(precision: str, device: torch.device) -> str:
    """Return ``fp32``, ``bf16`` or ``fp16``; ``auto`` is the fastest that ``device`` is built for.

    That is bf16 where the device multiplies bf16 numbers itself; otherwise fp32 on a CPU, where
    bf16 would be emulated, and fp16 on CUDA devices, which are older than Ampere then.
    """
    if precision != "auto":
        return precision
    if multiplies_bf16(device.type):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"
