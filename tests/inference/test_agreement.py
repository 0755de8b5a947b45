import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.inference.engines import Logits, Pixels
from fleetnet.inference.verify import Comparison, agreement_of, compare


def logits(*rows: list[float]) -> Logits:
    return np.array(rows, np.float32)


def test_one_class_an_image_agrees_where_top1_does() -> None:
    expected = logits([1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 2, 1])
    found = logits([9, 0, 8], [0, 1, 0], [0, 1, 0], [3, 2, 2.9])
    assert agreement_of(found, expected, "softmax") == 0.75


def test_several_labels_agree_as_often_as_the_worst_of_them() -> None:
    expected = logits([1, -1, -1], [1, -1, -1], [1, -1, -1], [-1, -1, 1])
    found = logits([2, -1, -1], [-1, -1, -1], [1, -9, -1], [1, -1, 0])
    # The first label differs on two images of four, whatever the many "no" of the second say.
    assert agreement_of(found, expected, "sigmoid") == 0.5
    assert agreement_of(expected, expected, "sigmoid") == 1.0


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_what_is_no_number_agrees_with_nothing(activation: str) -> None:
    expected = logits([1, 0], [1, 0])
    found = logits([1, 0], [np.nan, 0])
    found_inf = logits([np.inf, 0], [1, 0])
    for wrong in (found, found_inf):
        assert agreement_of(wrong, expected, activation) == 0.5  # type: ignore[arg-type]


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
