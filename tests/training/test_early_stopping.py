import pytest

from fleetnet.training.early_stopping import epochs_without_gain, stops_early
from fleetnet.training.progress import EpochRecord
from fleetnet.training.recipe import StopSettings


def history(*top1: float) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=epoch,
            lr=0.1,
            train_loss=1.0,
            train_top1=0.5,
            top1=value,
            top5=1.0,
            images_per_s=1.0,
            seconds=1.0,
        )
        for epoch, value in enumerate(top1, 1)
    ]


@pytest.mark.parametrize(
    ("top1", "min_delta", "expected"),
    [
        ((), 0.0, 0),
        ((0.5,), 0.0, 0),
        ((0.5, 0.5, 0.4), 0.0, 2),
        ((0.5, 0.6, 0.6), 0.0, 1),
        ((0.5, 0.55, 0.62), 0.1, 0),
        ((0.5, 0.55, 0.58), 0.1, 2),
    ],
)
def test_epochs_are_counted_from_the_last_gain(
    top1: tuple[float, ...], min_delta: float, expected: int
) -> None:
    assert epochs_without_gain(history(*top1), min_delta) == expected


def test_patience_ends_a_run_and_none_never_does() -> None:
    idle = history(0.5, 0.4, 0.4)
    assert stops_early(StopSettings(patience=2), idle)
    assert not stops_early(StopSettings(patience=3), idle)
    assert not stops_early(StopSettings(patience=0), idle)
