"""``fleetnet reject``: a table, a threshold in the bundle, and what may go wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.inference.engines import ENGINES
from fleetnet.inference.judging import sentence
from made_up_int8 import JUDGEMENT, times, with_int8


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


@pytest.fixture
def unlike(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle whose int8 is fp32 but for the size of its logits."""
    graph = times(bundle.file(format="onnx").read_bytes(), 1.125)
    return with_int8(bundle, tmp_path / "int8.bundle", graph).path


def test_int8_decides_by_the_threshold_that_was_chosen_in_fp32(
    fleetnet: Run, unlike: Path, shapes: Path
) -> None:
    command = ("reject", unlike, shapes, "--split", "all", "--coverage", "0.5")
    found = json.loads(fleetnet(*command, "--json").out)
    (int8,) = found["precisions"]
    assert (int8["precision"], int8["refused"]) == ("int8, onnxruntime", None)
    assert int8["threshold"] == found["chosen"]["threshold"]
    # Every score is larger, so it accepts more.
    assert int8["accepted"] > found["chosen"]["accepted"]
    more = int8["accepted"] - found["chosen"]["accepted"]
    assert int8["same_decision"] == pytest.approx(1 - more / 36)
    assert int8["judgement"]["high"] == JUDGEMENT.high
    printed = fleetnet(*command, "--outliers", shapes / "circle")
    assert printed.code == 0, printed
    (row,) = [line for line in printed.out.splitlines() if line.startswith("int8, onnxruntime ")]
    # Outliers are measured in fp32: the row ends with the threshold.
    assert row.split()[2] == f"{100 * int8['coverage']:.2f}%"
    assert row.split()[-1] == f"{int8['threshold']:.4f}"
    same = f"{100 * int8['same_decision']:.2f}%"
    assert f"int8, onnxruntime: the same decision on {same} of the images" in printed.out
    assert f"on record: onnxruntime in int8 {sentence(JUDGEMENT)}" in printed.out


def test_the_bundles_own_threshold_is_measured_where_none_is_chosen(
    fleetnet: Run, unlike: Path, shapes: Path
) -> None:
    command = ("reject", unlike, shapes, "--split", "all", "--json")
    chosen = json.loads(fleetnet(*command, "--coverage", "0.5", "--score", "max-logit").out)
    before = (unlike / MANIFEST).read_bytes()
    found = json.loads(fleetnet(*command).out)
    assert (found["score"], found["chosen"]) == ("max-logit", None)
    assert found["own"] == chosen["chosen"]
    assert found["precisions"] == chosen["precisions"]
    assert "the bundle's" in fleetnet(*command[:-1]).out
    other = json.loads(fleetnet(*command, "--score", "energy").out)
    assert (other["own"], other["precisions"]) == (None, [])
    assert (unlike / MANIFEST).read_bytes() == before


def test_int8_that_cannot_be_measured_is_a_warning_and_the_threshold_stands(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = times(bundle.file(format="onnx").read_bytes(), float("nan"))
    path = with_int8(bundle, tmp_path / "nan.bundle", graph, judgement=None).path
    command = ("reject", path, shapes, "--split", "all", "--coverage", "0.9")
    result = fleetnet(*command)
    assert result.code == 0, result
    assert "warning: int8, onnxruntime, is not measured: the network's logits are not" in result.err
    assert "int8, onnxruntime:" not in result.out
    assert "what onnxruntime loses in int8 is not on record" in result.out
    assert Bundle.load(path).manifest.rejection is not None

    assert fleetnet("reject", path, "--off").code == 0
    known = dict(ENGINES)
    absent = replace(known["onnxruntime"], needs="no_such_module", title="ONNX Runtime")
    monkeypatch.setattr(ENGINES, "_found", {**known, "onnxruntime": absent})
    result = fleetnet(*command, "--json")
    assert result.code == 0, result
    assert "is not measured: " in result.err
    assert "not installed" in result.err
    (int8,) = json.loads(result.out)["precisions"]
    assert "not installed" in int8["refused"]
    assert "coverage" not in int8
    assert Bundle.load(path).manifest.rejection is not None


def test_a_risk_is_chosen_for_another_folder_and_drawn(
    fleetnet: Run, copy: Path, shapes: Path, tmp_path: Path
) -> None:
    output, picture = tmp_path / "new.bundle", tmp_path / "curve.png"
    before = (copy / MANIFEST).read_bytes()
    table = json.loads(fleetnet("reject", copy, shapes, "--split", "all", "--json").out)["table"]
    risk = table[0]["risk"]  # of all images, so that it can be had
    result = fleetnet(
        "reject", copy, shapes, "--split", "all", "--risk", str(risk), "-o", output,
        "--plot", picture, "--json",
    )  # fmt: skip
    assert result.code == 0, result
    chosen = json.loads(result.out)["chosen"]
    assert chosen["risk"] <= risk
    assert chosen["coverage"] == 1
    assert f"{output} rejects answers with energy below" in result.err
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"
        assert min(drawn.size) > 100
    rejection = Bundle.load(output).manifest.rejection
    assert rejection is not None
    assert (rejection.threshold, rejection.risk) == (chosen["threshold"], chosen["risk"])
    assert (copy / MANIFEST).read_bytes() == before
