import math

import pytest

from fleetnet.amounts import count, percent, share, size


def test_nouns_are_counted() -> None:
    assert [count(number, "image") for number in (0, 1, 2, 1234)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,234 images",
    ]
    assert [count(number, "class") for number in (1, 2)] == ["1 class", "2 classes"]


def test_shares() -> None:
    assert [percent(value) for value in (0.25431, 1, None, math.nan)] == [
        "25.43",
        "100.00",
        "–",
        "–",
    ]
    assert [share(value) for value in (0.6, None)] == ["60.00%", "–"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (192, "192 bytes"),
        (1000, "1.0 kB"),
        (99_900, "99.9 kB"),
        (980_000, "0.98 MB"),
        (14_200_000, "14.20 MB"),
        (999_000_000, "999.00 MB"),
        (1_000_000_000, "1.0 GB"),
        (2_200_000_000, "2.2 GB"),
    ],
)
def test_no_positive_size_is_shown_as_zero(number: int, text: str) -> None:
    assert size(number) == text
