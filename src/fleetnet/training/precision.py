"""Which number format a run computes in."""

from __future__ import annotations

import torch


def resolve(precision: str, device: torch.device) -> str:
    """Return ``fp32``, ``bf16`` or ``fp16``; ``auto`` is the fastest that ``device`` is built for.

    On a CPU that is bf16 where the processor multiplies bf16 numbers itself, and fp32 where that
    would be emulated; on CUDA bf16, or fp16 on devices older than Ampere.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # Before PyTorch 2.10 there is no public way to ask, and fp32 is always right.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16" if native else "fp32"


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
