"""The happy road of every verb, as a new user would go it."""

import contextlib
import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.cli import VERBS, predict
from fleetnet.data.sources import ElpvSource, SampleTable
from fleetnet.inference.classifier import Classifier
from fleetnet.models.registry import MODELS
from samples import TINY, make_folder

SETTINGS = [word for setting in TINY for word in ("--set", setting)]


def test_help_names_every_verb(fleetnet: Run) -> None:
    for arguments in ((), ("--help",), ("-h",)):
        result = fleetnet(*arguments)
        assert result.code == 0
        for verb in (
            "models", "train", "evaluate", "explain", "export", "verify", "predict", "demo",
        ):  # fmt: skip
            assert f"  {verb} " in result.out
    assert fleetnet("--version").out.startswith("fleetnet 0.")


def test_help_is_whole_and_in_peoples_words(fleetnet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off nowhere in 80 columns, without Python's types, and offering what is taken."""
    monkeypatch.setenv("COLUMNS", "80")
    groups: list[list[str]] = [[], ["data"], ["weights"]]
    for words in (*groups, ["weights", "convert"], *([verb] for verb in VERBS)):
        shown = fleetnet(*words, "--help").out
        assert "..." not in shown.partition("Commands:\n")[2], shown
        assert "list[" not in shown.partition("Options:\n")[2], shown
        assert "{images}" not in shown, shown
    for verb in ("explain", "export"):
        assert ".onnx" not in fleetnet(verb, "--help").out


@pytest.mark.parametrize(
    "verb", ["models", "train", "evaluate", "explain", "export", "verify", "predict", "demo"]
)
def test_every_verb_explains_itself(fleetnet: Run, verb: str) -> None:
    result = fleetnet(verb, "--help")
    assert result.code == 0
    assert f"fleetnet {verb}" in result.out


@pytest.mark.slow
def test_models_lists_published_and_computed_figures(fleetnet: Run) -> None:
    text = fleetnet("models").out
    for name in MODELS:
        assert name in text
    rows = {row["name"]: row for row in json.loads(fleetnet("models", "--json").out)}
    mobilenet = rows["MobileNetV2"]
    assert mobilenet["computed"]["params"] == 3_505_960
    # The document counts two operations a multiply-add: 0.600 is 0.300.
    assert mobilenet["published"]["gmacs"] == 0.3
    assert mobilenet["published"]["gflops_as_printed"] == 0.6
    assert mobilenet["published"]["sd855_ms"] == [20.74, 12.71, 8.1]
    assert rows["ReXNet_1_0"]["published"]["gmacs"] == 0.415
    assert "ReXNet.md" in rows["ReXNet_1_0"]["published"]["source"]
    assert rows["mobilenetv2_100"]["published"] is None


@pytest.mark.slow
def test_train_export_verify_evaluate_predict(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = fleetnet(
        "train", shapes, "--model", "mobilenetv2_X0_25", *SETTINGS, "--epochs", "2", "-o", run
    )
    assert trained.code == 0, trained
    assert "epoch" in trained.err
    assert "weight_decay: 4.0e-05" in trained.err  # the recipe is printed whole
    assert f"next: fleetnet export {run / 'best.ckpt'}" in trained.out

    exported = fleetnet("export", run / "last.ckpt", "--images", shapes, "--limit", "5")
    assert exported.code == 0, exported
    bundle = run / "last.bundle"
    assert "openvino" in exported.out
    assert "onnxruntime" in exported.out

    verified = fleetnet("verify", bundle, "--images", shapes, "--json")
    assert verified.code == 0, verified
    report = json.loads(verified.out)
    assert report["passed"]
    assert report["reference"] == "torch"
    assert [engine["images"] for engine in report["engines"]] == [36, 36]

    for path in (run / "last.ckpt", bundle):
        evaluated = fleetnet("evaluate", path, shapes, "--json")
        assert evaluated.code == 0, evaluated
        figures = json.loads(evaluated.out)
        assert figures["images"] == 9
        assert figures["part"] == "the 9 held-out images of folder shapes"
    table = fleetnet("evaluate", bundle, shapes, "--part", "all").out
    assert table.split()[:2] == ["images", "36"]
    assert "true \\ predicted" in table


def test_other_data_is_evaluated_whole(fleetnet: Run, bundle: Bundle, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", 2, seed=8)
    figures = json.loads(fleetnet("evaluate", bundle.path, other, "--json").out)
    assert figures["images"] == 6


def test_predict_prints_a_table(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    result = fleetnet("predict", bundle.path, shapes / "circle", "--top-k", "2")
    assert result.code == 0
    lines = result.out.splitlines()
    assert len(lines) == 12
    assert all(len(line) <= 100 for line in lines)
    assert "000.jpg" in lines[0]
    assert lines[0].count("%") == 2


def test_predict_prints_json_lines(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    result = fleetnet("predict", bundle.path, shapes / "*" / "00?.jpg", "--json", "-k", "3")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert len(rows) == 24
    assert rows[0]["image"].endswith("circle/000.jpg")
    assert rows[0]["error"] is None
    assert sum(score["probability"] for score in rows[0]["top"]) == pytest.approx(1, abs=1e-5)


def test_predict_prints_csv(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    result = fleetnet("predict", bundle.path, shapes / "circle", "--csv", "-k", "2")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert len(rows) == 12
    assert list(rows[0]) == [
        "image",
        "class_1",
        "probability_1",
        "class_2",
        "probability_2",
        "error",
    ]
    assert float(rows[0]["probability_1"]) >= float(rows[0]["probability_2"])


def test_a_table_has_what_fits_and_one_image_alone_all(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.chdir(shapes / "circle")
    names = ["circle, ring, hoop", "square, box", "stripes, bars and lines"]
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(names))

    def table(*images: str) -> list[str]:
        return fleetnet("predict", bundle.path, *images, "--labels", labels).out.splitlines()

    alone = table("000.jpg")
    assert alone[0].startswith("000.jpg  ")
    assert sorted(line[9:].rsplit(" ", 1)[0] for line in alone) == names
    several = table("000.jpg", "001.jpg")
    assert len(several) == 2
    for line in several:
        assert len(line) <= 60
        assert line.endswith("%  …")
    (missing,) = table(f"{'no' * 40}.jpg")
    assert missing.endswith("error: No such file or directory")


def test_predict_with_other_labels(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("2 Streifen\n0 Kreis\n1 Quadrat\n")
    result = fleetnet("predict", bundle.path, shapes / "circle", "--labels", labels, "--json")
    names = {
        score["class"] for line in result.out.splitlines() for score in json.loads(line)["top"]
    }
    assert names == {"Kreis", "Quadrat", "Streifen"}
    labels.write_text("one\ntwo\n")
    fleetnet("predict", bundle.path, shapes, "--labels", labels).assert_one_line("names 2 classes")


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_an_unreadable_image_gets_a_row_and_exit_code_1(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, form: tuple[str, ...]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    good = shapes / "circle" / "000.jpg"
    missing = tmp_path / "missing.jpg"
    result = fleetnet("predict", bundle.path, good, tmp_path / "bad.jpg", missing, good, *form)
    assert result.code == 1
    assert "not an image in a known format" in result.out
    assert "No such file" in result.out
    assert len(result.out.splitlines()) == 4 + (form == ("--csv",))
    assert result.err == "2 of 4 images could not be read\n"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch"])
def test_predict_with_every_engine(
    fleetnet: Run, bundle: Bundle, shapes: Path, engine: str
) -> None:
    image = shapes / "stripes" / "001.jpg"
    result = fleetnet(
        "predict", bundle.path, image, "--engine", engine, "--threads", "1",
        "--batch-size", "2", "--json",
    )  # fmt: skip
    assert result.code == 0, result
    expected = json.loads(fleetnet("predict", bundle.path, image, "--json").out)
    found = json.loads(result.out)
    assert [score["class"] for score in found["top"]] == [s["class"] for s in expected["top"]]


def command(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "fleetnet", *map(str, arguments)],
        capture_output=True,
        **{"check": False, **options},
    )


@pytest.mark.slow
def test_predict_reads_standard_input(bundle: Bundle, shapes: Path) -> None:
    image = shapes / "circle" / "000.jpg"
    result = command("predict", bundle.path, "-", "--json", input=image.read_bytes())
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert row["image"] == "-"
    named = json.loads(command("predict", bundle.path, image, "--json").stdout)
    assert row["top"] == named["top"]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["predict", "weights", "--help"])
def test_a_closed_pipe_ends_quietly_and_well(bundle: Bundle, shapes: Path, verb: str) -> None:
    """Whoever writes: the verb, Rich for its table, or typer for the help."""
    words = {"predict": [str(bundle.path), str(shapes)], "weights": ["list"], "--help": []}
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "fleetnet", verb, *words[verb]],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (0, b"")


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """Keep how `fleetnet predict` opens the classifier: mode, batch size, exact."""
    asked: list[tuple[str, int, bool]] = []

    def classifier(*arguments: Any, **options: Any) -> Classifier:
        made = Classifier(*arguments, **options)
        asked.append((options["mode"], made.batch_size, made.exact))
        return made

    monkeypatch.setattr(predict, "Classifier", classifier)
    return asked


@pytest.mark.slow
def test_predict_has_one_answer_soon_and_many_quickly(
    fleetnet: Run, bundle: Bundle, shapes: Path, modes: list[tuple[str, int, bool]]
) -> None:
    image = shapes / "circle" / "000.jpg"
    for arguments in (
        [image],
        [image, image],
        [shapes / "circle"],
        [image, image, "--exact", "--batch-size", "3"],
        [image, image, "--engine", "torch"],
    ):
        assert fleetnet("predict", bundle.path, *arguments).code == 0
    assert modes == [
        ("latency", 1, False),
        ("throughput", 1, False),
        ("throughput", 1, False),
        ("throughput", 3, True),
        ("throughput", 8, False),
    ]


def test_predict_reads_standard_input_among_files(
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    modes: list[tuple[str, int, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No thread reads it, which could not be interrupted."""
    image = shapes / "circle" / "000.jpg"
    content = io.TextIOWrapper(io.BytesIO(image.read_bytes()))
    monkeypatch.setattr(sys, "stdin", content)
    result = fleetnet("predict", bundle.path, image, image, "-", "--json")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert rows[0]["top"] == rows[2]["top"]
    assert modes[0][0] == "latency"


@pytest.mark.slow
def test_predict_shows_progress_where_rows_go_to_a_file(bundle: Bundle, shapes: Path) -> None:
    """On a terminal that shows only standard error; for a folder, no total is counted."""
    image = str(shapes / "circle" / "000.jpg")
    folder = str(shapes / "circle")
    for images, rows, words in (([image] * 3, 3, b"3/3"), ([folder], 12, b"12/?")):
        reader, terminal = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "fleetnet", "predict", str(bundle.path), *images],
            stdout=subprocess.PIPE,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        ) as process:
            os.close(terminal)
            shown = b""
            with contextlib.suppress(OSError):  # how the end of a terminal shows
                while part := os.read(reader, 10_000):
                    shown += part
            found, _ = process.communicate()
        os.close(reader)
        assert process.returncode == 0
        assert len(found.splitlines()) == rows
        assert b"predicting" in shown
        assert words in shown


def test_only_the_verb_at_hand_is_imported() -> None:
    code = """
import sys
from fleetnet.cli import main
try:
    main(["predict", "--help"])
finally:
    print([name for name in sys.modules if name.startswith("fleetnet.data")], file=sys.stderr)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert result.stderr.strip() == "[]"


@pytest.fixture
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave of the solar cells every eighth."""
    begin = ElpvSource.__init__

    def begin_with_fewer(source: ElpvSource, label: str = "type") -> None:
        begin(source, label)
        source.samples = SampleTable.of(list(source.samples)[::8])

    monkeypatch.setattr(ElpvSource, "__init__", begin_with_fewer)


@pytest.mark.slow
@pytest.mark.usefixtures("few_cells")
def test_demo_runs_the_whole_road(fleetnet: Run, tmp_path: Path) -> None:
    result = fleetnet(
        "demo", "--epochs", "1", "-o", tmp_path, "--set", "input.crop=32", "--set",
        "input.resize=32",
    )  # fmt: skip
    assert result.code == 0, result
    assert "top-1" in result.out
    assert "next:" in result.out
    assert (tmp_path / "type" / "model.bundle" / "fleetnet.json").is_file()
    assert len(list((tmp_path / "type" / "images").iterdir())) == 8
    report = tmp_path / "type" / "report.html"
    assert result.out.splitlines()[-1] == f"report: {report}"
    assert "Worst mistakes" in report.read_text("utf-8")
