import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fleetnet.data.mix import Mix, cut_box, each_alone


def batch(images: int = 6, side: int = 16) -> Tensor:
    """Return images whose every pixel is their number."""
    numbers = torch.arange(images, dtype=torch.float32)
    return numbers[:, None, None, None].expand(images, side, side, 3).clone()


@given(
    st.floats(0.05, 4),
    st.floats(0.05, 4),
    st.integers(0, 2**32),
    st.integers(1, 9),
)
def test_targets_add_up_to_one(mixup: float, cutmix: float, seed: int, images: int) -> None:
    targets = torch.arange(images) % 4
    _, mixed = Mix(mixup, cutmix, 1.0, 4)(batch(images), targets, np.random.default_rng(seed))
    assert mixed.shape == (images, 4)
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed.sum(1), torch.ones(images))
    assert mixed.min() >= 0


@given(st.integers(0, 2**32))
def test_mixup_blends_pixels_as_it_blends_targets(seed: int) -> None:
    pixels, targets = Mix(0.8, 0, 1.0, 6)(batch(), torch.arange(6), np.random.default_rng(seed))
    expected = (targets * torch.arange(6)).sum(1)
    assert torch.allclose(pixels, expected[:, None, None, None].expand_as(pixels), atol=1e-5)


@given(st.integers(0, 2**32), st.floats(0.1, 3))
def test_cutmix_shares_are_those_of_the_pixels(seed: int, alpha: float) -> None:
    pixels, targets = Mix(0, alpha, 1.0, 6)(batch(), torch.arange(6), np.random.default_rng(seed))
    for number in range(6):
        partner = 5 - number
        assert set(pixels[number].flatten().tolist()) <= {number, partner}
        own = float((pixels[number] == number).float().mean())
        assert float(targets[number, number]) == pytest.approx(own, abs=1e-6)


@given(st.integers(1, 80), st.integers(1, 80), st.floats(0, 1), st.integers(0, 2**32))
def test_boxes_lie_inside_the_image(width: int, height: int, share: float, seed: int) -> None:
    left, top, right, bottom = cut_box(width, height, share, np.random.default_rng(seed))
    assert 0 <= left <= right <= width
    assert 0 <= top <= bottom <= height
    assert (right - left) * (bottom - top) <= width * height * (1 - share) + width + height


def test_each_batch_gets_one_of_both() -> None:
    rng = np.random.default_rng(0)
    kinds = []
    for _ in range(200):
        pixels, _ = Mix(1.0, 1.0, 1.0, 6)(batch(), torch.arange(6), rng)
        kinds.append(bool((pixels == pixels.round()).all()))
    assert 70 < sum(kinds) < 130


def test_some_batches_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    untouched = 0
    for _ in range(200):
        pixels, targets = Mix(0, 1.0, 0.5, 6)(batch(), torch.arange(6), rng)
        if torch.equal(targets, torch.eye(6)):
            untouched += 1
            assert torch.equal(pixels, batch())
    assert 70 < untouched < 140


def test_without_mixing_nothing_changes() -> None:
    pixels, targets = Mix(0, 0, 1.0, 6)(batch(), torch.arange(6), np.random.default_rng(0))
    assert torch.equal(pixels, batch())
    assert torch.equal(targets, torch.eye(6))


def test_multi_label_targets_are_mixed_as_they_are() -> None:
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    _, mixed = Mix(1.0, 0, 1.0, 3)(batch(4), targets.clone(), np.random.default_rng(1))
    _, shares = Mix(1.0, 0, 1.0, 4)(batch(4), torch.arange(4), np.random.default_rng(1))
    assert torch.allclose(mixed, shares @ targets)


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0)])
def test_bytes_are_mixed_as_floats_are(mixup: float, cutmix: float) -> None:
    pixels = torch.randint(0, 256, (4, 16, 16, 3), generator=torch.Generator().manual_seed(1))
    mix = Mix(mixup, cutmix, 1.0, 4)
    floats, _ = mix(pixels.float(), torch.arange(4), np.random.default_rng(5))
    rounded, _ = mix(pixels.to(torch.uint8), torch.arange(4), np.random.default_rng(5))
    assert rounded.dtype == torch.uint8
    assert (rounded.float() - floats).abs().max() <= 0.5


def test_only_the_generator_decides() -> None:
    mix = Mix(0.5, 0.5, 0.9, 6)
    one, other = (mix(batch(), torch.arange(6), np.random.default_rng(8)) for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_each_way_of_mixing_is_shown_alone_and_whole() -> None:
    assert each_alone(0.0, 0.0, 3) == []
    (one, mixup), (other, cutmix) = each_alone(0.2, 1.0, 3)
    assert (one, other) == ("mixup 0.2", "CutMix 1")
    assert (mixup.mixup, mixup.cutmix, mixup.probability, mixup.classes) == (0.2, 0, 1, 3)
    assert (cutmix.mixup, cutmix.cutmix, cutmix.probability, cutmix.classes) == (0, 1.0, 1, 3)
