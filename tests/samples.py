"""Images and folders of our own making, and where the shared ones are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
CLASSES = ("circle", "square", "stripes")
SMALL_LR = 1e-4
"""Of the session's network, which training is not to change much."""
TINY = ("input.resize=72", "input.crop=64", "batch_size=8", "data.workers=0", "optimizer.lr=0.02")


class _Refusing:
    """In simplejpeg's place: refuses every file, so that Pillow decodes it."""

    def decode_jpeg_header(self, _: bytes) -> None:
        raise ValueError("refused")


REFUSING = _Refusing()


def draw(kind: str, rng: np.random.Generator, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Draw one coloured shape on noise, never twice the same."""
    noise = rng.integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    pen = ImageDraw.Draw(image)
    color = tuple(int(value) for value in rng.integers(120, 256, 3))
    x, y = (int(value) for value in rng.integers(5, 30, 2))
    box = (x, y, x + 42, y + 42)
    if kind == "circle":
        pen.ellipse(box, fill=color)
    elif kind == "square":
        pen.rectangle(box, fill=color)
    else:
        for offset in range(0, 80, 10):
            pen.line((offset, 0, offset, 80), fill=color, width=4)
    return image


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Encode a Pillow image to bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_folder(
    root: Path, images: int = 12, classes: tuple[str, ...] = CLASSES, seed: int = 7
) -> Path:
    """Write a folder with a sub-folder of JPEG and PNG files per class."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(images):
            kind, suffix = ("PNG", "png") if number % 4 == 3 else ("JPEG", "jpg")
            (root / name / f"{number:03d}.{suffix}").write_bytes(encode(draw(name, rng), kind))
    return root
