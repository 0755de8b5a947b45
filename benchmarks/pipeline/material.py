"""Photographs and networks that the measurements share."""

from __future__ import annotations

import io
import math
import os
import platform
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fleetnet.bundle import Manifest, ModelInfo, TensorInfo
from fleetnet.export.onnx import to_onnx
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Interpolation, Preprocess

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"


def photographs(folder: Path) -> list[Path]:
    """Return the files of a folder.

    Raises:
        SystemExit: there are none.
    """
    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        raise SystemExit(f"error: no photographs in {folder}: give a folder of JPEG files")
    return files


def enlarged(image: Image.Image, factor: float) -> bytes:
    """Return an image as a camera of more pixels might have written it."""
    size = (round(image.width * factor), round(image.height * factor))
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_enlarged(files: list[Path], megapixels: float, folder: Path) -> list[Path]:
    """Write photographs at the size that cameras have them."""
    made = []
    for file in files:
        with Image.open(file) as image:
            factor = math.sqrt(megapixels * 1e6 / (image.width * image.height))
            made.append(folder / f"{file.stem}.jpg")
            made[-1].write_bytes(enlarged(image, factor))
    return made


def untrained(name: str, folder: Path, interpolation: Interpolation = "bilinear") -> Path:
    """Write a network that was never trained, which takes as long as one that was."""
    torch.manual_seed(0)
    network = build_model(name, 1000)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # With fresh statistics, values vanish layer by layer, and tiny ones are slow.
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    preprocess = Preprocess(interpolation=interpolation)
    manifest = Manifest(
        model=ModelInfo(name=name, num_classes=1000),
        classes=tuple(map(str, range(1000))),
        preprocess=preprocess,
        input=TensorInfo(name="pixels", dtype="uint8", shape=(None, 224, 224, 3)),
        outputs=(),
    )
    path = folder / f"{name}.onnx"
    path.write_bytes(to_onnx(network.eval(), preprocess, manifest))
    return path


def machine() -> str:
    """Return what was measured on, and how busy it was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{os.cpu_count()} cores ({platform.machine()}), load {load:.1f}"


def spread(values: list[float], form: str) -> str:
    """Return median, lowest and highest."""
    middle = float(np.median(values))
    return f"{middle:{form}} ({min(values):{form}}–{max(values):{form}})"
