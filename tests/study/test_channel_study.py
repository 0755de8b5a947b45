import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Run
from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError, Interrupted
from fleetnet.models.description import Description
from fleetnet.models.mobilenetv2 import STAGES
from fleetnet.models.registry import add_described, build_model
from fleetnet.models.rexnet import channel_ramp
from fleetnet.study.budget import Budget, described, widest
from fleetnet.study.channel_plots import thirds
from fleetnet.study.channel_study import (
    BEST,
    RESULTS,
    Candidate,
    ChannelLine,
    ChannelSettings,
    best_of,
    study_channels,
)
from fleetnet.study.correlation import correlation, fisher, pearson, spearman
from fleetnet.study.network_rank import network_rank
from fleetnet.study.ramps import BLOCKS, random_shapes, references
from fleetnet.training.callbacks import Callback
from fleetnet.training.recipe import Recipe
from fleetnet.weights.settings_file import read_description

SMALL = ("input.resize=36", "input.crop=32", "epochs=1", "batch_size=16")
BUDGET = Budget(parameters=60_000, macs=600_000, classes=3, size=32, stem=8, head=32)


def test_the_references_are_their_papers_channels() -> None:
    stages, ramp = references()
    table = [stage.channels for stage in STAGES for _ in range(stage.repeats)]
    assert list(stages.widths) == table
    rounded = [round(width) for width in ramp.widths]
    assert all(
        abs(ours - theirs) <= 1 for ours, theirs in zip(rounded, channel_ramp(1.0), strict=False)
    )


def test_shapes_never_fall_and_are_the_same_for_a_seed() -> None:
    shapes = random_shapes(30, 7)
    assert [shape.kind for shape in shapes[:3]] == ["linear", "piecewise", "stages"]
    assert len({shape.name for shape in shapes}) == len({shape.widths for shape in shapes}) == 30
    assert shapes == random_shapes(30, 7)
    assert shapes != random_shapes(30, 8)
    for shape in shapes:
        assert len(shape.widths) == BLOCKS
        assert list(shape.widths) == sorted(shape.widths)
        assert shape.widths[-1] == 1.0
        steps = np.diff(shape.widths)
        if shape.kind == "linear":
            assert np.allclose(steps, steps[0])


def test_a_network_is_the_widest_that_the_budget_allows() -> None:
    for shape in (*references(), *random_shapes(12, 0)):
        network = widest(shape, BUDGET)
        costs = network.costs(3)
        assert costs.parameters <= BUDGET.parameters
        assert costs.macs <= BUDGET.macs
        wider = described(shape, (network.blocks[-1].channels + 1.5) / shape.widths[-1], BUDGET)
        above = wider.costs(3)
        assert above.parameters > BUDGET.parameters or above.macs > BUDGET.macs
        assert tuple(row.stride for row in network.blocks) == tuple(
            stage.stride if repeat == 0 else 1
            for stage in STAGES
            for repeat in range(stage.repeats)
        )


def test_a_budget_below_every_network_is_refused() -> None:
    small = BUDGET.model_copy(update={"parameters": 500})
    with pytest.raises(
        FleetnetError, match=r"no network of MobileNetV2 is as small as params='500'"
    ):
        widest(references()[0], small)


def test_the_rank_of_a_network_is_a_share_that_falls_with_the_threshold() -> None:
    entry = add_described(widest(references()[1], BUDGET).to_values(), "here")
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shares = []
    for threshold in (1e-6, 0.2, 0.5):
        torch.manual_seed(0)
        network: Any = build_model(entry.name, 3)
        shares.append(network_rank(network, images, threshold))
    assert 1.0 >= shares[0] > shares[1] > shares[2] > 0


def test_correlations_and_their_intervals() -> None:
    first = np.array([1.0, 2.0, 2.0, 4.0, 5.0, 7.0, 8.0, 9.0])
    assert spearman(first, first**3) == pytest.approx(1.0)
    assert pearson(first, -2 * first) == pytest.approx(-1.0)
    # The sum over ranks by hand: 1 - 6 * (1 + 1) / (4 * 15).
    values = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert spearman(*values) == pytest.approx(0.8)
    low, high = fisher(0.6, 28)
    assert low == pytest.approx(math.tanh(math.atanh(0.6) - 1.96 / 5), abs=1e-4)
    assert high == pytest.approx(math.tanh(math.atanh(0.6) + 1.96 / 5), abs=1e-4)


def test_the_fisher_interval_holds_the_true_coefficient_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        pair = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 20)
        low, high = fisher(pearson(pair[:, 0], pair[:, 1]), 20)
        held += low <= 0.5 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_no_correlation_is_told_of_few_or_equal_figures() -> None:
    few = np.array([1.0, 2.0, 3.0, 4.0])
    assert correlation(few, few) is None
    assert correlation(np.ones(9), np.arange(9.0)) is None
    rng = np.random.default_rng(1)
    noise = correlation(rng.normal(size=12), rng.normal(size=12))
    assert noise is not None
    assert "do not show" in noise.in_words
    line = correlation(np.arange(12.0), np.arange(12.0) + rng.normal(size=12))
    assert line is not None
    assert line.in_words == "rank and accuracy go together"
    assert line.pearson_interval.low > 0


class Stopper(Callback):
    """Presses Ctrl-C after the first step."""

    def on_step(self, images: int, lr: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_stopped_study_goes_on_and_writes_a_network(
    shapes: Path, tmp_path: Path, fleetnet: Run
) -> None:
    source = open_source(str(shapes))
    recipe = Recipe.load("study", SMALL)
    settings = ChannelSettings.of(source, recipe, BUDGET, networks=3, threshold=0.2)

    def stop(candidate: Candidate) -> list[Callback]:
        return [Stopper()] if candidate.shape.name == "linear 1" else []

    with pytest.raises(Interrupted):
        study_channels(source, recipe, settings, tmp_path, begin=stop)
    begun = (tmp_path / RESULTS).read_bytes()
    assert begun.count(b"\n") == 3
    assert next(path.name for path in (tmp_path / "runs").iterdir()).startswith("linear_1-")
    assert not (tmp_path / BEST).exists()

    trained: list[str] = []

    def note(candidate: Candidate) -> list[Callback]:
        trained.append(candidate.shape.name)
        return []

    results = study_channels(source, recipe, settings, tmp_path, begin=note)
    assert trained == ["linear 1", "piecewise 1", "stages 1"]
    assert (tmp_path / RESULTS).read_bytes().startswith(begun)
    assert [line.name for line in results[:2]] == ["MobileNetV2", "ReXNet ramp"]
    assert {line.images for line in results} == {9}
    assert not (tmp_path / "runs").exists()

    best = best_of(results)
    network = read_description(tmp_path / BEST)
    assert isinstance(network, Description)
    assert tuple(row.channels for row in network.blocks) == best.channels
    assert network.costs(3) == (best.parameters, best.macs)
    result = fleetnet(
        "train", shapes, "--model", tmp_path / BEST, "--epochs", "1", "--recipe", "study",
        "-o", tmp_path / "run", "--log", "none", *(f"--set={one}" for one in SMALL),
    )  # fmt: skip
    assert result.code == 0, result


def test_the_command_prints_every_network(shapes: Path, tmp_path: Path, fleetnet: Run) -> None:
    words = ("study", "channels", shapes, "--networks", "1", "--params", "60000", "--macs",
             "1000000", "-o", tmp_path, *(f"--set={one}" for one in SMALL))  # fmt: skip
    result = fleetnet(*words)
    assert result.code == 0, result
    for word in ("MobileNetV2", "ReXNet ramp", "linear 1", "no correlation: too few"):
        assert word in result.out
    assert f"next: fleetnet train DATA --model {tmp_path / BEST}" in result.err
    assert (tmp_path / "channels.png").read_bytes().startswith(b"\x89PNG")
    values = json.loads(fleetnet(*words, "--json").out)
    assert [one["name"] for one in values["networks"]] == ["MobileNetV2", "ReXNet ramp", "linear 1"]
    assert values["best"] == "linear 1"
    assert values["correlation"] is None
    result = fleetnet(*words, "--params", "700")
    assert result.code == 2
    assert "is as small as --params 700 and --macs 1000000" in result.err
    for size in (5, 1100):
        result = fleetnet("study", "channels", shapes, "-o", tmp_path / "new", "--size", str(size))
        assert (result.code, result.err.count("\n")) == (2, 1), result
        assert f"images of 32 to 1024 pixels a side, not --size {size}" in result.err


def line(name: str, kind: str, top1: float) -> ChannelLine:
    return ChannelLine(
        name=name, kind=kind, channels=(4,), parameters=1, macs=1, rank=0.5, top1=top1, images=9
    )


def test_parts_of_a_study_by_accuracy() -> None:
    results = [line("MobileNetV2", "reference", 1.0)]
    results += [line(f"linear {number}", "linear", number / 10) for number in range(7)]
    parts = thirds(results)
    assert [one.name for one in parts["best"]] == ["linear 6", "linear 5"]
    assert [one.name for one in parts["worst"]] == ["linear 1", "linear 0"]
    assert len(parts["middle"]) == 3
    assert thirds(results[:2]) == {"best": results[1:2], "middle": [], "worst": []}
