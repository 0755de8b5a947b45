import sys
from pathlib import Path

import pytest
from PIL import Image

from fleetnet.errors import DataError, FleetnetError
from fleetnet.training.curves import SHOWN, _draw, plot_runs
from fleetnet.training.runs import Run


def made(count: int, epochs: int = 5) -> list[Run]:
    return [
        Run(
            Path(f"run{number}"),
            {},
            {},
            tuple(
                {"epoch": float(epoch), "top1": 0.5 + number / 40, "train_loss": 1.0 / epoch}
                for epoch in range(1, epochs + 1)
            ),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 12, 30])
def test_every_run_is_a_curve_of_its_own(count: int) -> None:
    runs = made(count)[:SHOWN]
    figure = _draw(runs, [str(run.path) for run in runs])
    curves = [line for line in figure.axes[0].lines if line.get_linestyle() != "None"]
    looks = {(line.get_color(), line.get_linestyle()) for line in curves}
    assert len(looks) == len(curves) == min(count, SHOWN)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(runs)


@pytest.mark.slow
def test_the_picture_is_written(tmp_path: Path) -> None:
    for kind in ("png", "svg", "pdf"):
        plot_runs(made(3), ["a", "b", "c"], tmp_path / f"curves.{kind}")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width >= 1000
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "name", ["_hidden", "$x^2", "$\\frac{", "表情😀", "\x1b[31m", "x" * 500, ""]
)
def test_any_name_can_be_in_the_legend(tmp_path: Path, name: str) -> None:
    plot_runs(made(2), [name, "other"], tmp_path / "curves.png")


def test_runs_without_figures_and_with_one_epoch(tmp_path: Path) -> None:
    runs = [
        *made(1, 0),
        *made(1, 1),
        Run(Path("x"), {}, {}, ({"epoch": 1.0, "top1": float("nan")},)),
    ]
    plot_runs(runs, ["none", "one", "nan"], tmp_path / "curves.png")


def test_what_cannot_be_drawn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"must end in \.png, \.svg, \.pdf"):
        plot_runs(made(1), ["a"], tmp_path / "curves.jpg")
    with pytest.raises(FleetnetError, match="cannot write"):
        plot_runs(made(1), ["a"], Path("/proc/curves.png"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(FleetnetError, match=r"pip install 'fleetnet\[report\]'"):
        plot_runs(made(1), ["a"], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
