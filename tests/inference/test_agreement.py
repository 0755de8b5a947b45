import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.inference.agreement import agreement, same_answers
from fleetnet.inference.comparison import Comparison, compare
from fleetnet.inference.engines import Logits, Pixels


def logits(*rows: list[float]) -> Logits:
    return np.array(rows, np.float32)


def test_one_class_an_image_agrees_where_top1_does() -> None:
    expected = logits([1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 2, 1])
    found = logits([9, 0, 8], [0, 1, 0], [0, 1, 0], [3, 2, 2.9])
    assert same_answers(expected, found, "softmax", boundary=0) == 0.75


def test_several_labels_agree_as_often_as_the_worst_of_them() -> None:
    expected = logits([1, -1, -1], [1, -1, -1], [1, -1, -1], [-1, -1, 1])
    found = logits([2, -1, -1], [-1, -1, -1], [1, -9, -1], [1, -1, 0])
    # The first label differs on two images of four, whatever the many "no" of the second say.
    assert same_answers(expected, found, "sigmoid", boundary=0) == 0.5
    assert same_answers(expected, expected, "sigmoid", boundary=0) == 1.0


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_answers_that_are_not_numbers_agree_with_nothing(activation: str) -> None:
    expected = logits([1, 0], [1, 0])
    found = logits([1, 0], [np.nan, 0])
    found_inf = logits([np.inf, 0], [1, 0])
    for wrong in (found, found_inf):
        assert same_answers(expected, wrong, activation, boundary=0) == 0.5  # type: ignore[arg-type]


@given(st.integers(1, 2000), st.data())
def test_a_comparison_knows_how_many_images_differ(images: int, data: st.DataObject) -> None:
    different = data.draw(st.integers(0, images))
    comparison = Comparison(
        "x", "1", images, 0.1, 0.9, 1.0, 1, "int8", (images - different) / images
    )
    assert comparison.different == different


def test_comparing_counts_answers_and_measures_their_shift() -> None:
    class Shifted:
        name, precision, threads, version = "shifted", "int8", 1, "1"
        device = "cpu"

        def run(self, pixels: Pixels) -> Logits:
            return np.repeat(logits([0.0, 2.0]), len(pixels), axis=0)

    expected = logits([0.0, 1.0], [1.0, 0.0])
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    comparison = compare(Shifted(), pixels, expected)  # type: ignore[arg-type]
    assert comparison.agreement == comparison.top1_agreement == 0.5
    low, high = 1 / (1 + np.exp(1)), 1 / (1 + np.exp(-1))
    shift = [1 / (1 + np.exp(-2)) - high, high - 1 / (1 + np.exp(2))]
    assert comparison.mean_abs_diff == pytest.approx(np.mean(shift), abs=1e-6)
    assert low + high == pytest.approx(1)
    record = comparison.record("here", 1.0)
    assert (record.agreement, record.mean_abs_diff) == (0.5, comparison.mean_abs_diff)


def test_agreement_counts_answers_and_not_classes_that_nobody_named() -> None:
    expected = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], np.float32)
    same = agreement(expected, expected, "softmax")
    assert (same.images, same.top1, same.mean_difference, same.max_difference) == (2, 1, 0, 0)
    found = np.array([[0.3, 0.6, 0.1], [0.1, 0.8, 0.1]], np.float32)
    other = agreement(expected, found, "softmax")
    assert other.top1 == 0.5
    assert other.mean_difference == pytest.approx((0.4 + 0.4) / 4)
    assert other.max_difference == pytest.approx(0.4)
    # Both labels that changed did so on one image of two.
    assert agreement(expected, found, "sigmoid").top1 == 0.5
    assert agreement(expected, np.full_like(expected, np.nan), "sigmoid").top1 == 0
