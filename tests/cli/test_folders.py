"""What the verbs say of folders: how they are understood, and what in them is passed over."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from pictures import EVERY
from samples import TINY, make_folder

SETTINGS = [word for setting in (*TINY, "epochs=1") for word in ("--set", setting)]
TRAIN = ["--model", "mobilenetv2_x0_25", "--log", "none", *SETTINGS]
LEFT_OUT = "warning: left out: 2 .mp4, 1 without an ending (no images by their names)"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Training and test images as an archive unpacks them."""
    root = tmp_path / "archive"
    make_folder(root / "d" / "Train", 4)
    make_folder(root / "d" / "Test", 2, seed=8)
    (root / "__MACOSX").mkdir()
    return root


def with_other_files(folder: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "c", ".DS_Store"):
        (folder / name).touch()
    return folder


@pytest.fixture
def denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of class folders, in one of them a folder that may not be read."""
    root = make_folder(tmp_path / "denied", 3)
    locked = root / "circle" / "locked"
    locked.mkdir()
    scandir = os.scandir

    def refuse(path: os.PathLike[str]) -> object:
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(locked))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return root


def test_a_check_says_what_the_folders_were_taken_for(fleetnet: Run, parts: Path) -> None:
    result = fleetnet("data", "check", parts, "--no-sheets")
    assert result.code == 0, result
    words = " ".join(result.out.split())
    assert "18 images in 3 classes, 3 held out, 6 to test on" in words
    assert "the data is in d/" in words
    assert "Train/ (12 images) is to train on and to hold out from" in words
    assert "Test/ (6 images) is kept for evaluation with --split test" in words
    assert "circle 6 33.3% 3 1 2" in words
    assert "the system's own __MACOSX" in result.err
    values = json.loads(fleetnet("data", "check", parts, "--no-sheets", "--json").out)
    assert values["classes"][0] == {"name": "circle", "images": 6, "train": 3, "val": 1, "test": 2}
    assert values["notes"][0] == "the data is in d/"
    assert values["left_out"]["system"] == {"__MACOSX": 1}


def test_a_check_counts_what_is_left_out(fleetnet: Run, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 3)
    with_other_files(folder / "circle")
    result = fleetnet("data", "check", folder, "--no-sheets", "--json")
    assert result.code == 0
    assert result.err == LEFT_OUT + "\n"
    left_out = json.loads(result.out)["left_out"]
    assert left_out["endings"] == {".mp4": 2, "": 1}
    assert left_out["system"] == {".DS_Store": 1}


@pytest.mark.slow
def test_training_reports_both_parts_and_does_not_use_the_test_part(
    fleetnet: Run, parts: Path, tmp_path: Path
) -> None:
    with_other_files(parts / "d" / "Train" / "circle")
    run = tmp_path / "run"
    result = fleetnet("train", parts, *TRAIN, "-o", run)
    assert result.code == 0, result
    assert "Test/ (6 images) is kept for evaluation with --split test" in result.err
    assert LEFT_OUT in result.err
    assert "9 images to train, 3 held out" in result.err
    for option in ("--split", "--part"):
        result = fleetnet("evaluate", run / "last.ckpt", parts, option, "test", "--json")
        assert result.code == 0, result
        values = json.loads(result.out)
        assert (values["images"], values["part"]) == (6, "the 6 test images of folder archive")
    values = json.loads(fleetnet("evaluate", run / "last.ckpt", parts, "--json").out)
    assert values["images"] == 3


def test_training_on_one_class_is_refused(fleetnet: Run, tmp_path: Path) -> None:
    one = make_folder(tmp_path / "one", 3, ("circle",))
    result = fleetnet("train", one, *TRAIN, "-o", tmp_path / "run")
    result.assert_one_line("folder one has only one class ('circle')", "at least two")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_one_class_alone_is_evaluated(fleetnet: Run, bundle: Bundle, tmp_path: Path) -> None:
    one = make_folder(tmp_path / "one", 5, ("square",))
    result = fleetnet("evaluate", bundle.path, one, "--json", "--bootstrap", "20")
    assert result.code == 0, result
    values = json.loads(result.out)
    assert values["classes"] == ["circle", "square", "stripes"]
    assert [row["support"] for row in values["per_class"]] == [0, 5, 0]
    assert [sum(row) for row in values["confusion"]] == [0, 5, 0]
    table = fleetnet("evaluate", bundle.path, one, "--report", tmp_path / "report.html")
    assert table.code == 0, table
    assert "nan" not in table.out


def test_asking_for_a_test_part_that_is_not_there_is_refused(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    fleetnet("evaluate", bundle.path, shapes, "--split", "test").assert_one_line(
        "has no test split"
    )
    flat = make_folder(tmp_path / "flat", 1, ("train/circle", "train/square", "test"))
    result = fleetnet("evaluate", bundle.path, flat, "--split", "test")
    assert result.code == 2
    reason = "test/ has no class folders, and so no labels: it is left out"
    assert result.err.splitlines()[-1].endswith(f"no test split that can be measured: {reason}")
    assert "--split all" not in result.err


def test_predictions_say_once_what_is_left_out(
    fleetnet: Run, bundle: Bundle, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "d", 2, ("a", "b"))
    with_other_files(folder / "b")
    result = fleetnet("predict", bundle.path, folder / "a", folder / "b", "--json")
    assert result.code == 0, result
    assert len(result.out.splitlines()) == 4
    assert result.err == LEFT_OUT + "\n"
    only = fleetnet("predict", bundle.path, with_other_files(tmp_path / "d"))
    assert only.code == 0
    for file in folder.rglob("*.*g"):
        file.unlink()
    fleetnet("predict", bundle.path, folder / "b").assert_one_line(
        "no images in the folder", "left out: 2 .mp4"
    )


def test_a_folder_that_cannot_be_read(
    fleetnet: Run, bundle: Bundle, denied: Path, tmp_path: Path
) -> None:
    line = f"cannot read the folder {denied / 'circle' / 'locked'}: Permission denied"
    fleetnet("data", "check", denied, "--no-sheets").assert_one_line(line)
    fleetnet("train", denied, *TRAIN, "-o", tmp_path / "run").assert_one_line(line)
    fleetnet("evaluate", bundle.path, denied).assert_one_line(line)
    result = fleetnet("predict", bundle.path, denied, "--json")
    assert result.code == 1
    rows = [json.loads(row) for row in result.out.splitlines()]
    assert [row["image"] for row in rows if row["error"]] == [str(denied / "circle" / "locked")]
    assert len(rows) == 10
    assert result.err == "1 of 10 images could not be read\n"


def test_links_in_a_circle_and_pipes(fleetnet: Run, bundle: Bundle, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 2)
    (folder / "circle" / "up").symlink_to("..")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "square" / "pipe.jpg")
    result = fleetnet("data", "check", folder, "--no-sheets", "--json")
    assert json.loads(result.out)["images"] == 6
    assert json.loads(result.out)["left_out"]["links"] == 1
    result = fleetnet("predict", bundle.path, folder, "--json")
    assert result.code == 0
    assert len(result.out.splitlines()) == 6
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "evaluate", "verify", "tune", "quantize", "export"])
def test_where_no_image_can_be_read_the_first_says_why(
    fleetnet: Run,
    bundle: Bundle,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = next(file.data for file in EVERY if file.name == "heic")
    folder = tmp_path / "heic"
    for number in range(12):
        place = folder / ("circle", "square")[number % 2] / f"{number:02}.heic"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data + bytes([number]))
    given: dict[str, list[object]] = {
        "train": [folder, *TRAIN],
        "evaluate": [bundle.path, folder],
        "quantize": [bundle.path, "--images", folder, "-o", tmp_path / "out"],
        "export": [checkpoint, "--images", folder, "-o", tmp_path / "out"],
    }
    monkeypatch.chdir(tmp_path)
    result = fleetnet(verb, *given.get(verb, [bundle.path, "--images", folder]))
    assert result.code == 2
    error = result.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "the first" in error
    assert ".heic: HEIC needs pillow-heif: pip install 'fleetnet[heif]'" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["verify", "tune", "quantize", "export"])
@pytest.mark.slow
def test_files_left_out_of_the_images_to_compare_on_are_reported_once(
    fleetnet: Run, bundle: Bundle, checkpoint: Path, tmp_path: Path, verb: str
) -> None:
    folder = with_other_files(make_folder(tmp_path / "d", 2))
    given: dict[str, list[object]] = {
        "tune": ["--seconds", "0", "--engine", "onnxruntime", "--mode", "latency"],
        "export": ["-o", tmp_path / "out"],
    }
    model = checkpoint if verb == "export" else bundle.path
    result = fleetnet(verb, model, "--images", folder, *given.get(verb, []))
    assert result.err.splitlines().count(LEFT_OUT) == 1
    # Six images are too few to quantise with.
    assert result.code == (2 if verb == "quantize" else 0), result
