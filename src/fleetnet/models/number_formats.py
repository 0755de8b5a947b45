"""Which number formats a device is built for."""

from __future__ import annotations

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def multiplies_bf16(device: str = "cpu") -> bool:
    """Tell whether a kind of device multiplies bf16 numbers itself, instead of emulating that.

    Args:
        device: ``cpu`` or ``cuda``, as :class:`torch.device` has it; no other kind does.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    # PyTorch before 2.10 has no public function for this, and fp32 is always right.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
