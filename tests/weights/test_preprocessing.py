"""Whole evaluation transforms of others, reproduced by ``Preprocess`` on real photographs."""

from pathlib import Path

import numpy as np
import pytest
from peers import declare_torchvision_operators
from PIL import Image

from fleetnet.images import decode
from fleetnet.preprocess import Preprocess


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "fraction"), [(224, 0.875), (224, 0.95), (288, 1.0)])
def test_timm(photos: list[Path], interpolation: str, size: int, fraction: float) -> None:
    """timm resizes the short side to ``floor(size / fraction)`` and crops the centre."""
    declare_torchvision_operators()
    from timm.data.transforms_factory import create_transform

    transform = create_transform(
        size,
        interpolation=interpolation,
        crop_pct=fraction,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    ours = Preprocess(int(size / fraction), size, interpolation)  # type: ignore[arg-type]
    for photo in photos:
        with Image.open(photo) as image:
            tensor = transform(image.convert("RGB"))
        theirs = np.rint(tensor.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        assert np.array_equal(ours(decode(photo.read_bytes())), theirs), photo.name
