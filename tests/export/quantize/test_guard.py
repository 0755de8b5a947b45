from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.errors import VerificationError
from fleetnet.export.quantize.guard import search
from fleetnet.export.quantize.layers import Layer


@dataclass(frozen=True)
class Judged:
    agreement: float


def layers(macs: Sequence[int]) -> list[Layer]:
    return [Layer(f"layer{index}", (f"node{index}",), count) for index, count in enumerate(macs)]


def needing(
    needed: int, ranked: Sequence[Layer], tried: list[int]
) -> Callable[[Sequence[Layer]], Judged]:
    """Return what is good enough with so many layers kept, and notes how many it was tried with."""

    def attempt(kept: Sequence[Layer]) -> Judged:
        assert list(kept) == list(ranked[: len(kept)])
        tried.append(len(kept))
        return Judged(1.0 if len(kept) >= needed else 0.5)

    return attempt


def never() -> Sequence[Layer]:
    raise AssertionError("the ranking takes its time and was not needed")


def test_nothing_is_kept_or_ranked_where_all_layers_bear_int8() -> None:
    found = search(lambda _: Judged(0.99), never, 0.99, "x")
    assert found.kept == ()
    assert found.attempts == 1


@given(st.integers(2, 60), st.data())
def test_the_fewest_of_the_most_sensitive_layers_are_kept(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.integers(1, count // 2))
    ranked = layers([1] * count)
    tried: list[int] = []
    found = search(needing(needed, ranked, tried), lambda: ranked, 0.99, "x")
    assert list(found.kept) == ranked[:needed]
    assert found.validated.agreement == 1.0
    assert found.attempts == len(tried) == len(set(tried))
    assert len(tried) <= 2 * count.bit_length() + 2


@given(st.lists(st.floats(0, 1), min_size=41, max_size=41), st.integers(1, 40))
def test_whatever_is_found_meets_what_is_wanted(agreements: list[float], count: int) -> None:
    """Keeping a layer more may well lower the agreement."""
    ranked = layers([1] * count)
    try:
        found = search(lambda kept: Judged(agreements[len(kept)]), lambda: ranked, 0.9, "x")
    except VerificationError:
        assert agreements[0] < 0.9
        assert agreements[count // 2] < 0.9
    else:
        assert found.validated.agreement == agreements[len(found.kept)] >= 0.9
        assert 2 * len(found.kept) <= count


def test_more_than_half_of_the_work_in_fp32_is_refused() -> None:
    ranked = layers([10, 30, 20, 40])
    tried: list[int] = []

    def attempt(kept: Sequence[Layer]) -> Judged:
        tried.append(len(kept))
        return Judged(1.0 if len(kept) == 3 else 0.9)

    with pytest.raises(VerificationError) as refused:
        search(attempt, lambda: ranked, 0.99, "openvino")
    assert tried == [0, 1, 2]
    message = str(refused.value)
    assert "\n" not in message
    for words in ("openvino", "90.00%", "99.00%", "2 most sensitive of 4", "40%", "is written"):
        assert words in message


def test_a_network_of_one_layer_is_refused_at_once() -> None:
    with pytest.raises(VerificationError, match="0 most sensitive of 1"):
        search(lambda _: Judged(0.0), lambda: layers([5]), 0.99, "x")


@given(st.integers(2, 60), st.integers(2, 9), st.data())
def test_few_attempts_end_with_layers_that_suffice(
    count: int, most: int, data: st.DataObject
) -> None:
    needed = data.draw(st.integers(0, count // 2))
    tried: list[int] = []

    def attempt(kept: Sequence[Layer]) -> Judged:
        tried.append(len(kept))
        return Judged(1.0 if len(kept) >= needed else 0.5)

    found = search(attempt, lambda: layers([1] * count), 0.99, "x", attempts=most)
    assert found.attempts == len(tried) == len(set(tried)) <= most
    assert len(found.kept) == min(number for number in tried if number >= needed)
    if len(tried) < most:
        assert len(found.kept) == needed
    assert tried[:2] == ([0, count // 2] if needed else [0])


@pytest.mark.parametrize("needed", range(1, 7))
def test_eight_attempts_find_the_few_layers_of_a_large_network(needed: int) -> None:
    found = search(
        lambda kept: Judged(float(len(kept) >= needed)),
        lambda: layers([1] * 60),
        0.99,
        "x",
        attempts=8,
    )
    assert len(found.kept) == needed


def test_a_refusal_takes_two_of_few_attempts() -> None:
    tried: list[int] = []

    def attempt(kept: Sequence[Layer]) -> Judged:
        tried.append(len(kept))
        return Judged(0.5)

    with pytest.raises(VerificationError, match="the 20 most sensitive of 40 layers"):
        search(attempt, lambda: layers([1] * 40), 0.99, "x", attempts=8)
    assert tried == [0, 20]


@given(st.integers(2, 60), st.data())
def test_what_an_imitation_finds_is_borne_out_or_doubled(count: int, data: st.DataObject) -> None:
    """The real ones may need more layers than the imitation said, or any number fewer."""
    imitated = data.draw(st.integers(0, count))
    needed = data.draw(st.integers(0, count // 2))
    ranked = layers([1] * count)
    tried: list[int] = []
    found = search(
        needing(needed, ranked, tried),
        lambda: ranked,
        0.99,
        "x",
        imitate=lambda kept: Judged(1.0 if len(kept) >= imitated else 0.5),
    )
    assert tried[0] == min(imitated, count // 2)
    assert len(found.kept) == tried[-1] >= needed
    assert found.attempts == len(tried) == len(set(tried))
    assert found.validated.agreement == 1.0


def test_only_the_real_one_is_refused() -> None:
    tried: list[int] = []

    def attempt(kept: Sequence[Layer]) -> Judged:
        tried.append(len(kept))
        return Judged(0.25)

    with pytest.raises(VerificationError, match=r"on 25\.00% of the images"):
        search(
            attempt,
            lambda: layers([1] * 40),
            0.99,
            "x",
            attempts=8,
            imitate=lambda _: Judged(0.5),
        )
    assert tried == [20]


def test_an_imitation_that_cannot_be_run_is_no_refusal() -> None:
    def imitate(_: Sequence[Layer]) -> Judged:
        raise VerificationError("its interpreter does not take the file")

    with pytest.raises(VerificationError, match="does not take the file"):
        search(lambda _: Judged(1.0), never, 0.99, "x", imitate=imitate)
