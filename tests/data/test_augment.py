from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from fleetnet import images
from fleetnet.data.augment import (
    Augment,
    erase,
    jitter,
    random_crop_box,
    scale_box,
    shrink_for,
)
from fleetnet.data.resize import crop_and_resize
from fleetnet.images import decode
from fleetnet.preprocess import Preprocess
from samples import REFUSING, draw, encode

PREPROCESS = Preprocess(72, 64)
PICTURE = np.asarray(draw("square", np.random.default_rng(2)))
WHOLE: dict[str, Any] = {"min_scale": 1.0, "max_ratio": 1.0, "horizontal_flip": 0.0}


def smooth(width: int, height: int) -> Image.Image:
    """Return colours that change slowly, which no way of resizing can get wrong."""
    return Image.fromarray(PICTURE).resize((8, 8)).resize((width, height), Image.Resampling.BICUBIC)


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.floats(0.05, 1.0),
    st.floats(1.0, 2.0),
    st.integers(0, 2**32),
)
def test_random_crops_lie_inside_the_image(
    width: int, height: int, min_scale: float, max_ratio: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    left, top, right, bottom = random_crop_box(width, height, min_scale, max_ratio, rng)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_crops_cover_the_share_they_are_asked_to() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_crop_box(300, 300, 0.5, 4 / 3, rng)
        assert 0.49 <= (right - left) * (bottom - top) / 300**2 <= 1.0
        assert 0.74 <= (right - left) / (bottom - top) <= 1.35


@given(st.data())
def test_scaled_boxes_lie_inside_the_decoded_image(data: st.DataObject) -> None:
    width, height = (data.draw(st.integers(1, 5000)) for _ in range(2))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (
        left,
        top,
        data.draw(st.integers(left + 1, width)),
        data.draw(st.integers(top + 1, height)),
    )
    shrink = data.draw(st.sampled_from([1, 2, 4, 8]))
    decoded = (-(-width // shrink), -(-height // shrink))
    scaled = scale_box(box, (width, height), decoded)
    assert 0 <= scaled[0] < scaled[2] <= decoded[0]
    assert 0 <= scaled[1] < scaled[3] <= decoded[1]
    for side in range(4):
        assert abs(scaled[side] - box[side] / shrink) <= 2
    if shrink == 1:
        assert scaled == box


@pytest.mark.parametrize(
    ("side", "shrink"), [(63, 1), (127, 1), (128, 2), (255, 2), (256, 4), (512, 8), (9000, 8)]
)
def test_decoding_never_shrinks_below_the_size_wanted(side: int, shrink: int) -> None:
    assert shrink_for((5, 5, 5 + side, 10_005), 64) == shrink


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_is_pillows(mode: Any, photos: list[Path]) -> None:
    resampling = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[mode]
    for photo in photos[::20]:
        image = Image.open(photo).convert("RGB")
        box = (3, 5, image.width - 7, image.height - 11)
        ours = crop_and_resize(np.asarray(image), box, 96, mode, mirror=False)
        pillows = np.asarray(image.crop(box).resize((96, 96), resampling))
        difference = np.abs(ours.astype(int) - pillows)
        assert difference.max() <= 3
        assert difference.mean() < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (2, 3)])
def test_tiny_images_are_enlarged(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 7, np.uint8)
    assert (Augment(PREPROCESS)(pixels, np.random.default_rng(0)) == 7).all()


def test_shrinking_much_is_antialiased() -> None:
    checkered = (np.indices((640, 640)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    varied = Augment(PREPROCESS, **WHOLE)(checkered, np.random.default_rng(0))
    assert np.abs(varied[2:-2, 2:-2].astype(int) - 127).max() < 16


def test_flips() -> None:
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    both = Augment(PREPROCESS, **{**WHOLE, "horizontal_flip": 1.0}, vertical_flip=1.0)
    assert np.array_equal(both(image, np.random.default_rng(0)), image[::-1, ::-1])


def test_quarter_turns_come_equally_often() -> None:
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    turn = Augment(PREPROCESS, **WHOLE, quarter_turns=True)
    rng = np.random.default_rng(0)
    counts = [0] * 4
    for _ in range(200):
        turned = turn(image, rng)
        (which,) = (k for k in range(4) if np.array_equal(turned, np.rot90(image, k)))
        counts[which] += 1
    assert min(counts) > 30


@given(*[st.floats(0.05, 1.95)] * 3)
def test_colour_jitter_is_pillows(brightness: float, contrast: float, saturation: float) -> None:
    image = Image.fromarray(PICTURE)
    for enhance, factor in (
        (ImageEnhance.Brightness, brightness),
        (ImageEnhance.Contrast, contrast),
        (ImageEnhance.Color, saturation),
    ):
        image = enhance(image).enhance(factor)
    ours = jitter(PICTURE, brightness, contrast, saturation)
    # Pillow cuts off fractions three times, each time up to a level, which later factors enlarge,
    # and rounds the mean grey and each grey: 1.95 × (1.95 + 1 + 0.48) + 0.48 + 1 and half a level.
    assert np.abs(ours.astype(int) - np.asarray(image)).max() <= 8
    assert np.abs(ours.astype(int) - np.asarray(image)).mean() <= 3


def test_colour_jitter_of_one_changes_nothing() -> None:
    assert np.array_equal(jitter(PICTURE, 1, 1, 1), PICTURE)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32))
def test_erasing_replaces_one_rectangle(width: int, height: int, seed: int) -> None:
    image = np.full((height, width, 3), 255, np.uint8)
    erased = erase(image, np.random.default_rng(seed))
    assert image.min() == 255
    rows, columns = np.nonzero((erased != 255).any(2))
    if len(rows):
        share = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / (width * height)
        assert share <= 1 / 3 + 2 / min(width, height)


def test_erasing_has_its_probability() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    augment = Augment(PREPROCESS, **WHOLE, erase=0.25)
    rng = np.random.default_rng(0)
    erased = sum(augment(image, rng).any() for _ in range(400))
    assert 70 < erased < 130


@pytest.mark.parametrize("policy", ["none", "randaugment", "trivialaugment", "autoaugment"])
def test_only_the_generator_decides(policy: Any) -> None:
    augment = Augment(
        PREPROCESS, quarter_turns=True, color_jitter=0.3, policy=policy, magnitude_std=1, erase=0.5
    )
    variants = [augment(PICTURE, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert variants[0].shape == (64, 64, 3)
    assert variants[0].dtype == np.uint8
    assert np.array_equal(variants[0], variants[1])
    assert not np.array_equal(variants[0], variants[2])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("orientation", [1, 8])
def test_bytes_and_pixels_are_varied_alike(scaled: bool, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(smooth(650, 500), "JPEG", quality=95, exif=exif)
    augment = Augment(PREPROCESS, scaled_decoding=scaled)
    for seed in range(5):
        from_bytes = augment.from_bytes(data, np.random.default_rng(seed)).astype(int)
        from_pixels = augment(decode(data), np.random.default_rng(seed))
        assert np.abs(from_bytes - from_pixels).mean() < (1.5 if scaled else 0.01)


def test_scaled_decoding_looks_the_same_with_and_without_simplejpeg(
    monkeypatch: pytest.MonkeyPatch, photos: list[Path]
) -> None:
    augment = Augment(PREPROCESS)
    for photo in photos[::20]:
        fast = augment.from_bytes(photo.read_bytes(), np.random.default_rng(1)).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr(images, "simplejpeg", REFUSING)
            slow = augment.from_bytes(photo.read_bytes(), np.random.default_rng(1))
        assert np.abs(fast - slow).max() <= 2
