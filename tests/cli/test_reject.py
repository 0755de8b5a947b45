"""``fleetnet reject``: a table, a threshold in the bundle, and what may go wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "copy.bundle"
    shutil.copytree(bundle.path, path)
    return path


def test_without_a_choice_nothing_is_written(fleetnet: Run, copy: Path, shapes: Path) -> None:
    before = (copy / MANIFEST).read_bytes()
    result = fleetnet("reject", copy, shapes, "--split", "all")
    assert result.code == 0, result
    for words in ("coverage", "risk", "threshold", "100.00%", "area under risk over coverage"):
        assert words in result.out
    assert "chosen" not in result.out
    assert (copy / MANIFEST).read_bytes() == before


def test_a_chosen_threshold_is_written_and_evaluated(
    fleetnet: Run, copy: Path, shapes: Path, tmp_path: Path
) -> None:
    picture, report = tmp_path / "curve.png", tmp_path / "report.html"
    words = ("--split", "all", "--coverage", "0.7", "--score", "probability", "--json")
    result = fleetnet(
        "reject", copy, shapes, *words, "--outliers", shapes / "circle", "--plot", picture
    )
    assert result.code == 0, result
    found = json.loads(result.out)
    assert picture.is_file()
    chosen = found["chosen"]
    assert 0.7 <= chosen["coverage"] <= 1
    assert 0 <= chosen["outliers_rejected"] <= 1
    assert set(found["auroc"]) == {"energy", "max-logit", "probability"}
    assert all(0 <= area <= 1 for area in found["auroc"].values())
    rejection = Bundle.load(copy).manifest.rejection
    assert rejection is not None
    assert (rejection.score, rejection.threshold) == ("probability", chosen["threshold"])
    assert (rejection.coverage, rejection.risk) == (chosen["coverage"], chosen["risk"])
    result = fleetnet("evaluate", copy, shapes, "--split", "all", "--report", report, "--json")
    measured = json.loads(result.out)["rejection"]
    assert measured["accepted"] == chosen["accepted"]
    assert measured["accepted_top1"] == pytest.approx(1 - chosen["risk"])
    assert f"below {chosen['threshold']:.4f}" in report.read_text("utf-8")
    assert "of the images are accepted" in fleetnet("evaluate", copy, shapes, "--split", "all").out
    assert fleetnet("reject", copy, "--off").code == 0
    assert Bundle.load(copy).manifest.rejection is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--coverage", "0.9", "--risk", "0.1"), "exclude each other"),
        (("--coverage", "0.9", "--score", "enery"), "did you mean 'energy'"),
        (("--coverage", "1.5"), "1.5"),
        (("--outliers", "nowhere.png"), "nowhere.png"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    fleetnet: Run, copy: Path, shapes: Path, options: tuple[str, ...], words: str
) -> None:
    before = (copy / MANIFEST).read_bytes()
    fleetnet("reject", copy, shapes, *options).assert_one_line(words)
    assert (copy / MANIFEST).read_bytes() == before


def test_it_takes_a_bundle_and_data(fleetnet: Run, copy: Path, checkpoint: Path) -> None:
    fleetnet("reject", copy, "--coverage", "0.9").assert_one_line("give DATA")
    fleetnet("reject", checkpoint, "--off").assert_one_line("is no bundle")
    fleetnet("reject", copy / "model.onnx", "--off").assert_one_line("only an ONNX file")
