import dataclasses
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.benchmark import plan as planning
from fleetnet.benchmark.measure import Limits
from fleetnet.benchmark.networks import BenchmarkedNetwork, find_subjects
from fleetnet.benchmark.plan import Plan, cells_of, groups, make_plan
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError

PLAN = Plan(("openvino",), ("fp32", "bf16"), (1, 2), (1, 4, 8), Limits(10))


@dataclasses.dataclass(frozen=True)
class Weighty:
    """A network that is only as large as it says."""

    name: str
    bytes: int

    def storage(self, engine: str, precision: str) -> int:
        return self.bytes


@pytest.fixture(scope="module")
def subjects(bundle: Bundle) -> list[BenchmarkedNetwork]:
    return find_subjects([str(bundle.path)])


@pytest.mark.parametrize(
    ("processors", "threads"), [(1, (1,)), (2, (1, 2)), (3, (1, 2)), (64, (1, 2, 4))]
)
def test_the_default_plan(
    subjects: list[BenchmarkedNetwork],
    monkeypatch: pytest.MonkeyPatch,
    processors: int,
    threads: tuple[int, ...],
) -> None:
    monkeypatch.setattr(planning, "available_threads", lambda: processors)
    plan = make_plan(subjects)
    assert plan.engines == ("openvino",)
    assert plan.precisions[0] == "fp32"
    assert plan.threads == plan.threads_with_processors == threads
    assert plan.batches == (1, 4, 8)
    quick = make_plan(subjects, quick=True)
    assert (quick.threads, quick.batches) == (threads[-1:], (1, 8))
    assert quick.limits.budget < plan.limits.budget


def test_what_is_asked_for_is_measured(
    subjects: list[BenchmarkedNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "available_threads", lambda: 2)
    plan = make_plan(
        subjects,
        engines=["torch", "openvino", "torch"],
        asked_precisions=["int8"],
        threads=[4, 1, 4],
        batches=[16, 2],
        budget=3,
        quick=True,
    )
    assert plan.engines == ("torch", "openvino")
    assert plan.precisions == ("int8",)
    assert (plan.threads, plan.batches) == ((1, 4), (2, 16))
    assert plan.threads_with_processors == (1,)
    assert plan.limits.budget == 3


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"engines": ["openvin"]}, "unknown engine 'openvin', did you mean 'openvino'?"),
        ({"asked_precisions": ["fp31"]}, "unknown precision 'fp31', did you mean 'fp32'?"),
        ({"threads": [0]}, "threads is 0; it must be from 1 to 1024"),
        ({"threads": [1025]}, "threads is 1025"),
        ({"batches": [0]}, "batch is 0; it must be from 1 to 4096"),
        ({"budget": 0.0}, "budget is 0; it must be above 0 seconds"),
        ({"budget": float("nan")}, "budget is nan"),
    ],
)
def test_what_cannot_be_measured(
    subjects: list[BenchmarkedNetwork], asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(FleetnetError) as caught:
        make_plan(subjects, **asked)
    assert words in str(caught.value)


def test_every_combination_once(subjects: list[BenchmarkedNetwork]) -> None:
    cells = list(cells_of(subjects[0], PLAN))
    assert len(cells) == len(set(cells)) == 12


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.integers(0, 10**11))
def test_groups_fit_into_memory_and_keep_the_order(sizes: list[int], memory: int) -> None:
    weighty = cast(
        "list[BenchmarkedNetwork]",
        [Weighty(str(number), size) for number, size in enumerate(sizes)],
    )
    found = groups(weighty, PLAN, memory)
    assert [one for group in found for one in group] == weighty
    for group, following in zip(found, [*found[1:], None], strict=True):
        taken = sum(planning._need(one, PLAN) for one in group)
        assert len(group) == 1 or taken <= memory
        if following is not None:  # no group ends before it must
            assert taken + planning._need(following[0], PLAN) > memory
