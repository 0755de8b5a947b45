"""Photographs and networks that the measurements share."""

from __future__ import annotations

import argparse
import io
import math
import os
import platform
from pathlib import Path

from PIL import Image

from fleetnet.benchmark.untrained import make_untrained

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


def parser(doc: str | None, *, rounds: int, limit: int) -> argparse.ArgumentParser:
    """Return the options that all measurements of photographs have."""
    found = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    found.add_argument("folder", nargs="?", type=Path, default=PHOTOS)
    found.add_argument("--megapixels", type=float, help="enlarge the photographs to so many first")
    found.add_argument("--model", default="MobileNetV2")
    found.add_argument("--rounds", type=int, default=rounds)
    found.add_argument("--limit", type=int, default=limit, help="photographs")
    return found


def untrained(name: str, folder: Path) -> Path:
    """Write a network that was never trained, which takes as long as one that was."""
    return make_untrained(name, 224, folder / f"{name}.bundle").path / "model.onnx"


def machine() -> str:
    """Return what was measured on, and how busy it was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{os.cpu_count()} cores ({platform.machine()}), load {load:.1f}"
