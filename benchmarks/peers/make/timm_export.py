"""Export timm's networks the usual way: ``timm_export.py FOLDER NAME [SIDE]``; in its environment.

An ONNX file by PyTorch's exporter as it comes, and a TorchScript trace, which pnnx reads.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workers"))

import torch
from timm_side import timm_network


def main(folder: Path, name: str, side: int) -> None:
    """Write ``NAME.onnx`` and ``NAME.pt``."""
    warnings.simplefilter("ignore")
    network = timm_network(str(folder / f"{name}.pth"))
    example = torch.randn(1, 3, side, side)
    torch.onnx.export(network, (example,), str(folder / f"{name}.onnx"), external_data=False)
    with torch.inference_mode():
        torch.jit.trace(network, example).save(str(folder / f"{name}.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 224)
