"""What is lost on the same images, against figures that were worked out otherwise."""

import numpy as np
import pytest

from fleetnet.evaluation.bootstrap import mean_of
from fleetnet.evaluation.paired import (
    loss_by_bootstrap,
    loss_of_share,
    needed_by_spread,
    needed_for_share,
)
from fleetnet.inference.judging import CONFIDENCE_Z

SQUARE = CONFIDENCE_Z**2


@pytest.mark.parametrize("images", [10, 438, 5000])
def test_without_a_difference_the_bound_is_what_the_score_test_says(images: int) -> None:
    low, high = loss_of_share(0, 0, images)
    assert high == pytest.approx(SQUARE / (images + SQUARE), abs=1e-6)
    assert low == -high


def test_bounds_of_many_images_are_those_of_the_normal_distribution() -> None:
    worse, better, images = 300, 220, 40_000
    loss = (worse - better) / images
    error = np.sqrt(worse + better - (worse - better) ** 2 / images) / images
    low, high = loss_of_share(worse, better, images)
    assert low == pytest.approx(loss - CONFIDENCE_Z * error, rel=0.03)
    assert high == pytest.approx(loss + CONFIDENCE_Z * error, rel=0.03)


def test_a_gain_is_a_loss_turned_around() -> None:
    low, high = loss_of_share(1, 9, 44)
    assert low < -8 / 44 < high < 0
    assert loss_of_share(9, 1, 44) == pytest.approx((-high, -low), abs=1e-6)


def test_a_true_loss_at_the_limit_passes_no_more_often_than_once_in_twenty() -> None:
    rng = np.random.default_rng(0)
    allowed, images, rounds = 0.02, 1200, 4000
    drawn = rng.multinomial(images, [0.03, 0.01, 0.96], rounds)
    passed = {
        (worse, better): loss_of_share(worse, better, images).high <= allowed
        for worse, better in {(int(a), int(b)) for a, b, _ in drawn}
    }
    share = np.mean([passed[int(a), int(b)] for a, b, _ in drawn])
    assert 0.03 < share < 0.06


def test_the_bootstrap_of_a_mean_is_near_the_score_interval() -> None:
    before, after = np.zeros(2000, np.bool_), np.zeros(2000, np.bool_)
    before[:60], after[25:90] = True, True
    found = loss_by_bootstrap(mean_of(before), mean_of(after), 2000)
    assert found == pytest.approx(loss_of_share(25, 30, 2000), abs=8e-4)


def test_how_many_images_it_takes() -> None:
    none = needed_for_share(0, 0, 100, 0.005)
    assert none is not None
    assert loss_of_share(0, 0, none).high <= 0.005 < loss_of_share(0, 0, none - 5).high
    some = needed_for_share(6, 5, 438, 0.005)
    assert some is not None
    share = some / 438
    assert loss_of_share(round(6 * share), round(5 * share), some).high < 0.0053
    assert loss_of_share(round(3 * share), round(2.5 * share), some // 2).high > 0.0053
    assert needed_for_share(3, 0, 438, 0.005) is None
    assert needed_by_spread(0.001, 0.009, 100, 0.005) == 400
    assert needed_by_spread(0.006, 0.009, 100, 0.005) is None
