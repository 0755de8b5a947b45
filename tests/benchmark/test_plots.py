from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from fleetnet.benchmark.plots import draw_all, drawable, latency_figure, storage_figure
from fleetnet.benchmark.report import write_report
from fleetnet.benchmark.results import Results
from made_up_results import made_up


@pytest.fixture(scope="module")
def results() -> Results:
    return made_up()


@pytest.mark.slow
def test_the_pictures_are_not_empty(results: Results, tmp_path: Path) -> None:
    for file in draw_all(results, tmp_path):
        pixels = np.asarray(Image.open(file).convert("RGB"), np.int16)
        assert pixels.shape == (990, 1500, 3)
        background = (pixels == 255).all(2).mean()
        assert 0.7 < background < 0.98
        colourful = np.ptp(pixels, axis=2) > 60
        assert colourful.sum() > 3000
        # In all four quarters of the width something is drawn.
        assert all(part.any() for part in np.array_split(colourful, 4, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("draw", [latency_figure, storage_figure])
def test_every_network_has_a_name_that_can_be_read(results: Results, draw: object) -> None:
    figure = draw(results)  # type: ignore[operator]
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    names = [text for text in axes.texts if isinstance(text, Annotation)]
    assert {text.get_text() for text in names} == {one.name for one in results.networks}
    boxes = [text.get_window_extent() for text in names]
    legend = axes.get_legend()
    assert legend is not None
    inside = axes.get_window_extent()
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert not box.overlaps(legend.get_window_extent())
        assert inside.contains(box.x0, box.y0)
        assert inside.contains(box.x1, box.y1)


def test_lines_are_families(results: Results) -> None:
    (axes,) = latency_figure(results).axes
    assert sorted(len(np.atleast_1d(line.get_xdata())) for line in axes.lines) == [1, 1, 5, 5, 6, 6]
    for line in axes.lines:
        assert np.all(np.diff(np.asarray(line.get_xdata())) > 0)


def test_a_family_that_nobody_listed_has_a_line_of_its_own(results: Results) -> None:
    lite = replace(results.networks[0], model="EfficientNet_Lite0")
    results = replace(results, networks=(lite, *results.networks[1:]))
    legend = latency_figure(results).axes[0].get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:4] == ["EfficientNet", "MobileNetV2", "MobileNetV2, ssld", "ReXNet"]


def test_without_published_accuracy_there_is_nothing_to_draw(tmp_path: Path) -> None:
    results = made_up(["MobileNetV2"])
    results.networks[0].published.clear()
    assert not drawable(results)
    said: list[str] = []
    files = write_report(results, tmp_path, said.append)
    assert [file.name for file in files] == ["results.json", "results.md"]
    assert said == ["no pictures: none of these networks has a published accuracy"]
