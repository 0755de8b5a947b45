"""Make trained networks in everybody's format, in int8 too where the guard lets them pass.

    python -m benchmarks.peers.make.trained FOLDER PHOTOS [CHECKPOINT ...]

EfficientNet-Lite0 has its weights from a package; checkpoints are networks that were trained on the
ELPV data. The images are in three parts: for int8's calibration, for the guard's validation, and
unseen ones that the report is about.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.peers.contenders import LITE0, Trained
from benchmarks.pipeline.unseen_images import held_out, lite0, photograph_views
from fleetnet.bundle import Bundle
from fleetnet.errors import VerificationError
from fleetnet.export.bundle import export_bundle
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.samples import Samples
from fleetnet.models.names import TIMM
from fleetnet.models.registry import find_model
from fleetnet.preprocess import Preprocess
from fleetnet.training.adopt import read_checkpoint
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.weights.adapter import Adapter
from fleetnet.weights.identify import from_ours

NAMES = "trained.json"
"""What was made, a list of :class:`Trained`."""
TIMM_NAMES = {
    **{
        f"mobilenetv2_{width}": f"mobilenetv2_{width}"
        for width in ("035", "050", "075", "100", "140")
    },
    **{
        f"ReXNet_{width / 100:.1f}".replace(".", "_"): f"rexnet_{width}"
        for width in (100, 130, 150)
    },
}
"""Our names of networks to timm's."""

Pixels = npt.NDArray[np.uint8]


def main(folder: Path, photos: Path, checkpoints: list[Path]) -> None:
    """Write each network's bundle, its weights under timm's names, inputs and answers."""
    made = [_lite0(folder, photos), *map(functools.partial(_elpv, folder), checkpoints)]
    (folder / NAMES).write_text(json.dumps([one._asdict() for one in made if one]), "utf-8")


def _lite0(folder: Path, photos: Path) -> Trained | None:
    weights = lite0()
    if weights is None:
        return None
    bundle = export_bundle(weights, folder / f"{LITE0}.trained.bundle", made_up=True)
    checkpoint = read_checkpoint(weights)
    views = np.stack(list(photograph_views(photos, checkpoint.preprocess)))
    _write_for_others(folder / f"{LITE0}.pth", checkpoint)
    title = "EfficientNet-Lite0, ImageNet"
    return _made(folder, LITE0, title, bundle, checkpoint.network(), views)


def _elpv(folder: Path, path: Path) -> Trained | None:
    checkpoint = Checkpoint.load(path)
    if checkpoint.model not in TIMM_NAMES:
        print(f"{path} is left out: timm has no {checkpoint.model} for the others to run")
        return None
    name = f"{TIMM_NAMES[checkpoint.model]}.{path.parent.name}"
    bundle = export_bundle(path, folder / f"{name}.trained.bundle")
    samples, _ = held_out(checkpoint)
    pixels = np.concatenate([samples.calibration, samples.validation])
    _write_for_others(folder / f"{name}.pth", checkpoint)
    what = checkpoint.data.get("spec", {}).get("label", "")
    title = f"{checkpoint.model}, ELPV {what}".rstrip()
    return _made(folder, name, title, bundle, checkpoint.network(), pixels)


def _write_for_others(path: Path, checkpoint: Checkpoint) -> None:
    """Write the weights under timm's names."""
    torch.save(from_ours(checkpoint.state, find_model(checkpoint.model), Adapter(TIMM)), path)


def _made(
    folder: Path, file: str, title: str, bundle: Bundle, network: nn.Module, pixels: Pixels
) -> Trained:
    calibration, validation, report = np.split(pixels, [len(pixels) // 4, len(pixels) * 5 // 8])
    floats = normalised(report, bundle.manifest.preprocess)
    np.savez(folder / f"{file}.inputs.npz", pixels=report, floats=floats.numpy())
    with torch.inference_mode():
        answers = torch.cat([network(part).softmax(1) for part in torch.split(floats, 16)])
    np.save(folder / f"{file}.npy", answers.numpy())
    samples = Samples(calibration, validation, 0, 0)
    try:
        _, (result,) = quantize_bundle(bundle, samples, title, engines=["openvino"])
    except VerificationError as error:
        return Trained(title, file, int8=False, note=str(error))
    kept = result.quantization
    note = f"{len(kept.kept_layers)} of {kept.layers} layers are kept out of int8"
    return Trained(title, file, int8=True, note=note)


def normalised(pixels: Pixels, preprocess: Preprocess) -> torch.Tensor:
    """Return pixels as networks without normalisation take them, ``float32[N, 3, H, W]``."""
    scale, shift = (torch.from_numpy(part) for part in preprocess.normalisation())
    return (torch.from_numpy(pixels).float() * scale + shift).permute(0, 3, 1, 2).contiguous()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
