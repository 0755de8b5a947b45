"""The picture of all networks."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fleetnet.benchmark import picture as module
from fleetnet.benchmark.choice import Candidate, candidates, pareto
from fleetnet.benchmark.measured import Measurement
from fleetnet.benchmark.picture import Panel, draw_picture, panels, picture

SOME = ("MobileNetV2", "MobileNetV2_x0_5", "MobileNetV2_ssld", "ReXNet_1_0", "PPLCNet_x0_25")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Measurement]:
    """Return figures of a few networks, which are all that there are."""
    some = _some()
    monkeypatch.setattr(module, "candidates", lambda: some)
    # Counting builds every network, which takes long, and is tested elsewhere.
    counted = SimpleNamespace(macs=300_000_000, trainable=3_500_000)
    monkeypatch.setattr(module, "structure", lambda *_: counted)
    return [
        Measurement(one.model, 224, "openvino", "fp32", 2, one.top1 / 100, 10**7, 10**8, 10**6)
        for one in some
    ]


def _some() -> tuple[Candidate, ...]:
    return tuple(one for one in candidates() if one.name in SOME)


def _front(points: list[Candidate], panel: Panel) -> list[Candidate]:
    return pareto(points, lambda one: panel.cost[one.name], lambda one: one.top1)


def test_a_panel_for_each_cost(measured: list[Measurement]) -> None:
    some = _some()
    found = {panel.title: panel.cost for panel in panels(some, measured)}
    assert list(found) == [
        "Multiply-adds, counted",
        "Parameters, counted",
        "Storage, measured here",
        "Snapdragon 855, published",
        "V100, published",
        "Latency, measured here",
    ]
    assert set(found["Latency, measured here"]) == set(SOME)
    assert found["Snapdragon 855, published"]["PPLCNet_x0_25"] == 2.30
    assert "ReXNet_1_0" not in found["Snapdragon 855, published"]
    assert found["Storage, measured here"]["MobileNetV2_ssld"] == 10
    unmeasured = [panel.title for panel in panels(some, [])]
    assert "Storage, published" in unmeasured
    assert not any("here" in title for title in unmeasured)


def test_the_front_is_filled_and_named(
    measured: list[Measurement], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figure = picture(measured, "a machine")
    assert isinstance(figure, Figure)
    for panel, axes in zip(panels(_some(), measured), figure.axes, strict=True):
        points = [one for one in _some() if one.name in panel.cost]
        front = _front(points, panel)
        assert {text.get_text() for text in axes.texts} == {one.name for one in front}
        colours = np.concatenate([np.asarray(marks.get_facecolor()) for marks in axes.collections])
        assert len(colours) == len(points)
        assert np.count_nonzero((colours[:, :3] != 1).any(1)) == len(front)
    monkeypatch.setattr(module, "picture", lambda *_: figure)
    draw_picture(measured, tmp_path / "networks.png")
    with Image.open(tmp_path / "networks.png") as drawn:
        assert drawn.width > 2000
        pixels = np.asarray(drawn.convert("RGB"), np.int16)
    assert (np.ptp(pixels, axis=2) > 60).sum() > 1000
