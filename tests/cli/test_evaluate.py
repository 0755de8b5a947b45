"""``evaluate`` and ``explain``: figures, slices, the report, heat maps, and what may go wrong."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Run
from evaluation.made_up import MadeUpSource
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.inference.judging import sentence
from made_up_int8 import JUDGEMENT, with_int8
from samples import make_folder


@pytest.fixture
def sites(tmp_path: Path, shapes: Path) -> Path:
    """A table of where each image is from and how old it is."""
    rows = ["Path,site,age"]
    for number, file in enumerate(sorted(shapes.glob("*/*"))):
        name = file.relative_to(shapes).as_posix()
        rows.append(f"{name},{'north' if number % 2 else 'south'},{number}")
    path = tmp_path / "sites.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def edit(bundle: Path, **changes: object) -> None:
    values = json.loads((bundle / MANIFEST).read_text())
    values.update(changes)
    (bundle / MANIFEST).write_text(json.dumps(values))


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "copy.bundle"
    shutil.copytree(bundle.path, path)
    return path


def test_figures_are_printed_compactly(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    result = fleetnet("evaluate", bundle.path, shapes, "--part", "all")
    assert result.code == 0, result
    for words in ("images", "top-1", "balanced accuracy", "macro F1", "ECE", "with temperature"):
        assert words in result.out
    assert "precision  recall" in result.out
    assert "true \\ predicted" in result.out
    assert "report:" not in result.out
    assert all(len(line) <= 100 for line in result.out.splitlines())
    assert len(result.out.splitlines()) < 30


@pytest.mark.slow
def test_json_has_all_that_is_printed(
    fleetnet: Run, bundle: Bundle, shapes: Path, sites: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    result = fleetnet(
        "evaluate", bundle.path, shapes, "--part", "all", "--json", "--bootstrap", "50",
        "--seed", "3", "--slices", sites, "--slice-by", "site", "--report", report,
    )  # fmt: skip
    values = json.loads(result.out)
    assert values["images"] == 36
    assert values["intervals"]["resamples"] == 50
    assert values["intervals"]["seed"] == 3
    assert values["intervals"]["top1"][0] <= values["top1"] <= values["intervals"]["top1"][1]
    assert [row["class"] for row in values["per_class"]] == ["circle", "square", "stripes"]
    assert {(row["column"], row["value"], row["images"]) for row in values["slices"]} == {
        ("site", "north", 18), ("site", "south", 18),
    }  # fmt: skip
    assert values["report"] == str(report)
    assert values["temperature"]["images"] == 36
    again = fleetnet(
        "evaluate", bundle.path, shapes, "--part", "all", "--json", "--bootstrap", "50",
        "--seed", "3",
    )  # fmt: skip
    assert json.loads(again.out)["intervals"] == values["intervals"]


def test_a_report_of_a_bundle(
    fleetnet: Run, bundle: Bundle, shapes: Path, sites: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    result = fleetnet("evaluate", bundle.path, shapes, "--slices", sites, "--report", report)
    assert result.code == 0, result
    assert result.out.splitlines()[-1] == f"report: {report}"
    text = report.read_text("utf-8")
    for words in (
        "the 9 held-out images of folder shapes",
        "openvino 20",
        "north",
        "age",
        "Provenance",
        "epochs",
        "Grad-CAM" if "called" in text else "There are none",
    ):
        assert words in text, words


def test_what_is_on_record_of_fewer_bits_stands_beside_the_figures(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    int8 = with_int8(bundle, tmp_path / "int8.bundle").path
    options = ("--engine", "onnxruntime", "--bootstrap", "0")
    command = ("evaluate", int8, shapes, *options, "--precision", "int8")
    printed = fleetnet(*command, "--report", report)
    assert printed.code == 0, printed
    record = f"n record: onnxruntime in int8 {sentence(JUDGEMENT)}"
    assert f"o{record}" in printed.err
    assert f'<p class="note">O{record}.</p>' in report.read_text("utf-8")
    values = json.loads(fleetnet(*command, "--json").out)
    assert (values["engine"], values["precision"]) == ("onnxruntime", "int8")
    assert values["judgement"] == JUDGEMENT.model_dump(mode="json")
    in_fp32 = fleetnet("evaluate", int8, shapes, *options, "--json")
    assert json.loads(in_fp32.out)["judgement"] is None
    assert "on record" not in in_fp32.err


def test_fewer_bits_that_nobody_has_judged_are_called_that(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    int8 = with_int8(bundle, tmp_path / "int8.bundle", judgement=None).path
    printed = fleetnet(
        "evaluate", int8, shapes, "--engine", "onnxruntime", "--precision", "int8",
        "--bootstrap", "0",
    )  # fmt: skip
    assert printed.code == 0, printed
    assert "what onnxruntime loses in int8 is not on record: 'fleetnet tune' judges" in printed.err


@pytest.mark.slow
def test_a_report_of_a_checkpoint_has_its_history(
    fleetnet: Run, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    result = fleetnet("evaluate", checkpoint, shapes, "--part", "all", "--report", report)
    assert result.code == 0, result
    text = report.read_text("utf-8")
    assert '<h2 id="training">' in text
    assert "The dot is the epoch evaluated here, 2." in text
    assert "torch 2" in text
    assert "27 of 36 images were trained on." in text


@pytest.mark.slow
def test_a_checkpoint_in_another_engine_is_made_a_bundle(
    fleetnet: Run, checkpoint: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))  # where nobody has made it yet
    command = ("evaluate", checkpoint, shapes, "--split", "all", "--bootstrap", "0", "--json")
    plain = json.loads(fleetnet(*command).out)
    result = fleetnet(*command, "--engine", "onnxruntime")
    assert result.code == 0, result
    assert json.loads(result.out)["top1"] == plain["top1"]
    assert "kept in" in result.err


@pytest.mark.parametrize(
    "engine", [pytest.param("openvino", marks=pytest.mark.slow), "onnxruntime"]
)
def test_a_lone_onnx_file_has_a_report_without_heat(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, engine: str
) -> None:
    report = tmp_path / "report.html"
    model = bundle.file(format="onnx")
    result = fleetnet(
        "evaluate", model, shapes, "--part", "all", "--engine", engine, "--report", report
    )
    assert result.code == 0, result
    text = report.read_text("utf-8")
    assert "has no weights to look into" in text
    assert "Beside each image" not in text


@pytest.mark.slow
def test_a_calibrated_bundle_serves_other_probabilities(
    fleetnet: Run, bundle: Bundle, copy: Path, shapes: Path
) -> None:
    calibration = {
        "temperature": 2.0, "images": 9, "ece_before": 0.2, "ece_after": 0.1, "source": "some",
    }  # fmt: skip
    edit(copy, calibration=calibration)
    plain, scaled = (
        json.loads(fleetnet("evaluate", path, shapes, "--part", "all", "--json").out)
        for path in (bundle.path, copy)
    )
    assert plain["top1"] == scaled["top1"]
    assert plain["nll"] != scaled["nll"]
    image = shapes / "circle" / "000.jpg"
    before, after = (
        json.loads(fleetnet("predict", path, image, "--json").out)["top"]
        for path in (bundle.path, copy)
    )
    assert [score["class"] for score in before] == [score["class"] for score in after]
    ratio = before[0]["probability"] / before[1]["probability"]
    assert after[0]["probability"] / after[1]["probability"] == pytest.approx(ratio**0.5, rel=1e-4)


@pytest.fixture
def three_labels(monkeypatch: pytest.MonkeyPatch) -> MadeUpSource:
    """In place of the data: images of any number of classes."""
    labels = [(n % 3,) if n % 2 else (n % 3, (n + 1) % 3) for n in range(12)]
    source = MadeUpSource(("circle", "square", "stripes"), labels, multi_label=True)
    monkeypatch.setattr("fleetnet.cli.evaluate.open_told", lambda *_, **__: source)
    monkeypatch.setattr("fleetnet.evaluation.selection.fingerprint", lambda _: "none")
    return source


@pytest.mark.slow
def test_multi_label_data_takes_a_model_of_sigmoids(
    fleetnet: Run, copy: Path, three_labels: MadeUpSource, tmp_path: Path
) -> None:
    result = fleetnet("evaluate", copy, "anything")
    result.assert_one_line("any number of classes per image")
    edit(copy, model={"name": "MobileNetV2_x0_25", "num_classes": 3, "activation": "sigmoid"})
    report = tmp_path / "report.html"
    values = json.loads(fleetnet("evaluate", copy, "anything", "--json", "--report", report).out)
    assert values["images"] == 12
    assert values["mean_average_precision"] > 0
    assert "confusion" not in values
    assert "exact match" in report.read_text("utf-8")
    printed = fleetnet("evaluate", copy, "anything")
    assert "mean average precision" in printed.out
    assert "AP" in printed.out


@pytest.mark.slow
def test_wrong_slices_and_reports_are_refused_before_the_work(
    fleetnet: Run, bundle: Bundle, shapes: Path, sites: Path, tmp_path: Path
) -> None:
    evaluate = ("evaluate", bundle.path, shapes)
    fleetnet(*evaluate, "--slice-by", "site").assert_one_line("give it with --slices")
    fleetnet(*evaluate, "--slices", sites, "--slice-by", "sitte").assert_one_line(
        "no column 'sitte', did you mean 'site'"
    )
    fleetnet(*evaluate, "--slices", tmp_path / "no.csv").assert_one_line("cannot read")
    fleetnet(*evaluate, "--report", tmp_path).assert_one_line("is a folder")
    fleetnet(*evaluate, "--bootstrap", "-1").assert_one_line("--bootstrap")
    blocked = tmp_path / "file"
    blocked.touch()
    result = fleetnet(*evaluate, "--report", blocked / "r.html")
    assert result.code == 2
    assert "cannot write" in result.err.splitlines()[-1]


def test_rows_of_other_images_are_warned_of(
    fleetnet: Run, bundle: Bundle, shapes: Path, sites: Path
) -> None:
    with sites.open("a") as file:
        file.write("circle/999.jpg,north,1\n")
    result = fleetnet("evaluate", bundle.path, shapes, "--slices", sites)
    assert result.code == 0
    assert "warning: 1 row of" in result.err
    assert "south" in result.out


@pytest.mark.parametrize(("missing", "words"), [("jinja2", "Jinja"), ("matplotlib", "matplotlib")])
def test_a_report_names_the_extra_it_needs(
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    words: str,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    result = fleetnet("evaluate", bundle.path, shapes, "--report", "report.html")
    result.assert_one_line(words, "pip install 'fleetnet[report]'")
    assert fleetnet("evaluate", bundle.path, shapes).code == 0


def test_without_torch_the_report_says_why_there_is_no_heat(
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    report = tmp_path / "report.html"
    result = fleetnet("evaluate", bundle.path, shapes, "--part", "all", "--report", report)
    assert result.code == 0, result
    assert "fleetnet[train]" in report.read_text("utf-8")


@pytest.mark.slow
def test_explain_writes_image_and_heat(
    fleetnet: Run, bundle: Bundle, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    image = shapes / "circle" / "000.jpg"
    rows = []
    for number, path in enumerate((bundle.path, checkpoint)):
        output = tmp_path / f"{number}.png"
        result = fleetnet("explain", path, image, "--output", output, "--json")
        assert result.code == 0, result
        rows.append(json.loads(result.out))
        with Image.open(output) as picture:
            assert picture.size == (2 * 384, 384)
            halves = np.asarray(picture.convert("RGB")).astype(int)
        assert not np.array_equal(halves[:, :384], halves[:, 384:])
    assert {**rows[0], "output": 0} == {**rows[1], "output": 0}
    (best, *_) = json.loads(
        fleetnet("predict", bundle.path, image, "--engine", "torch", "--json").out
    )["top"]
    assert rows[0]["class"] == rows[0]["top"] == best["class"]
    assert rows[0]["probability"] == pytest.approx(best["probability"], abs=1e-6)


@pytest.mark.slow
def test_explain_looks_for_a_class_in_several_images(
    fleetnet: Run, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    images = (shapes / "circle" / "000.jpg", shapes / "square" / "000.jpg", tmp_path / "bad.jpg")
    output = tmp_path / "explained"
    result = fleetnet("explain", checkpoint, *images, "--class", "stripes", "-o", output)
    assert result.code == 1
    assert sorted(file.name for file in output.iterdir()) == ["000-2.png", "000.png"]
    lines = result.out.splitlines()
    assert [("stripes" in line) for line in lines] == [True, True, False]
    assert "not an image in a known format" in lines[2]
    assert result.err == "1 of 3 images could not be read\n"


def test_explain_with_wrong_words(
    fleetnet: Run, bundle: Bundle, copy: Path, shapes: Path, tmp_path: Path
) -> None:
    image = shapes / "circle" / "000.jpg"
    fleetnet("explain", "nothing", image).assert_one_line("'nothing' is neither a file")
    fleetnet("explain", bundle.path, image, "--class", "squares").assert_one_line(
        "unknown class 'squares', did you mean 'square'"
    )
    fleetnet("explain", bundle.path, image, image, "-o", tmp_path / "x.png").assert_one_line(
        "2 images do not fit into"
    )
    fleetnet("explain", bundle.file(format="onnx"), image).assert_one_line("folder")
    other = make_folder(tmp_path / "other", 2)
    fleetnet("explain", other, image).assert_one_line("is not a bundle")
    (tmp_path / "file").touch()
    result = fleetnet("explain", bundle.path, image, "-o", tmp_path / "file" / "x.png")
    result.assert_one_line("cannot write")
