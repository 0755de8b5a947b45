import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from conftest import Run
from fleetnet.cli.data_report import SHOWN_CLASSES, print_report
from fleetnet.data.findings import ClassCount, Report
from samples import make_folder


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default output is below the working folder."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "faulty", 5)
    (folder / "circle" / "000.jpg").write_bytes(b"junk")
    shutil.copy(folder / "circle" / "001.jpg", folder / "square" / "copy.jpg")
    return folder


def test_clean_data(fleetnet: Run, shapes: Path, somewhere: Path) -> None:
    result = fleetnet("data", "check", shapes)
    assert result.code == 0, result
    assert re.search(r"circle +12 +33.3% +9 +3\n", result.out)
    assert "nothing found that makes training wrong" in result.out
    output = somewhere / "data-check" / "shapes"
    assert "report.json and 3 sheets beside it" in result.err
    assert sorted(file.name for file in output.iterdir()) == [
        "0-circle.jpg",
        "1-square.jpg",
        "2-stripes.jpg",
        "report.json",
    ]
    assert json.loads((output / "report.json").read_text())["images"] == 36


def test_odd_names_and_how_data_were_read_are_reported(fleetnet: Run, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 4, ("cat", "Cat", "nan"))
    rows = [f"{file.parent.name}\\{file.name} {file.parent.name}" for file in folder.glob("*/*.*")]
    (folder / "list.txt").write_text("\n".join(rows))
    for data in (folder, folder / "list.txt"):
        result = fleetnet("data", "check", data, "--no-sheets")
        assert result.code == 1, result
        assert "'Cat' and 'cat' differ only in upper and lower case" in result.out
        assert "wrong: class names: 'nan' is how a missing label is written" in result.out
        assert ("are read as" in result.out) == (data != folder)


def test_findings_end_with_exit_code_1(fleetnet: Run, faulty: Path) -> None:
    result = fleetnet("data", "check", faulty)
    assert result.code == 1, result
    assert "circle/000.jpg: not an image in a known format" in result.out
    assert "circle/001.jpg = square/copy.jpg" in result.out
    assert result.out.splitlines()[-2:] == [
        "wrong: 1 image cannot be read",
        "wrong: 1 group of identical images with different labels",
    ]


def test_json_is_everything(fleetnet: Run, faulty: Path, somewhere: Path) -> None:
    result = fleetnet("data", "check", faulty, "--json", "--no-sheets")
    assert result.code == 1
    values = json.loads(result.out)
    assert values["unreadable"] == [
        {"name": "circle/000.jpg", "reason": "not an image in a known format"}
    ]
    assert values["near_duplicates"]["distance"] == 4
    assert not list(somewhere.iterdir())
    assert result.err == ""


def test_without_sheets_only_the_report_is_written(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert fleetnet("data", "check", shapes, "--no-sheets", "-o", output, "--near", "0").code == 0
    assert [file.name for file in output.iterdir()] == ["report.json"]


def test_an_older_checks_sheets_are_replaced(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert fleetnet("data", "check", shapes, "-o", output).code == 0
    (output / "3-gone.jpg").touch()
    (output / "notes.txt").touch()
    assert fleetnet("data", "check", shapes, "-o", output).code == 0
    assert not (output / "3-gone.jpg").exists()
    assert (output / "notes.txt").exists()


def test_folders_with_other_things_are_left_alone(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "0-mine.jpg").touch()
    fleetnet("data", "check", shapes, "-o", output).assert_one_line("holds other files")
    (output / "report.json").write_text('{"format": "something else"}')
    fleetnet("data", "check", shapes, "-o", output).assert_one_line("holds other files")
    assert (output / "0-mine.jpg").exists()
    file = tmp_path / "file"
    file.touch()
    fleetnet("data", "check", shapes, "-o", file).assert_one_line("cannot use", str(file))


def test_the_output_may_not_lie_in_the_data(
    fleetnet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be a class in the next training."""
    folder = make_folder(tmp_path / "d", 3)
    monkeypatch.chdir(folder)
    fleetnet("data", "check", ".").assert_one_line("lies in the data itself", "--no-sheets")
    assert fleetnet("data", "check", ".", "--no-sheets").code == 0
    assert sorted(file.name for file in folder.iterdir()) == ["circle", "square", "stripes"]


def test_without_imagehash_the_rest_is_checked(
    fleetnet: Run, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    result = fleetnet("data", "check", shapes, "--no-sheets")
    assert result.code == 0, result
    assert "not looked for: ImageHash is not installed" in result.out
    assert "pip install 'fleetnet[check]'" in result.err
    fleetnet("data", "check", shapes, "--no-sheets", "--near", "4").assert_one_line(
        "ImageHash", "pip install 'fleetnet[check]'"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["Missing argument 'DATA'"]),
        (["/nothing/there"], ["/nothing/there does not exist"]),
        (["SHAPES", "--near", "13"], ["--near", "at most 12"]),
        (["SHAPES", "--near", "x"], ["--near"]),
        (["SHAPES", "--size", "0"], ["--size"]),
        (["SHAPES", "--val-fraction", "1"], ["--val-fraction must be above 0 and below 1"]),
        (["SHAPES", "--val-fraction", "nan"], ["--val-fraction must be"]),
        (["SHAPES", "--seed", "-1"], ["--seed"]),
        (["SHAPES", "--workers", "0"], ["--workers"]),
        (["SHAPES", "--label", "x"], ["--label chooses among"]),
        (["elpv", "--label", "typ"], ["did you mean 'type'"]),
    ],
)
def test_wrong_words(
    fleetnet: Run, shapes: Path, somewhere: Path, arguments: list[str], words: list[str]
) -> None:
    arguments = [str(shapes) if word == "SHAPES" else word for word in arguments]
    fleetnet("data", "check", *arguments).assert_one_line(*words)
    assert not list(somewhere.iterdir())


def test_data_alone_lists_its_verbs(fleetnet: Run) -> None:
    fleetnet("data", "chek").assert_one_line("chek")


HOSTILE = (
    "plain",
    "\x1b[31mred\x1b[0m",
    "new\nline",
    "表情😀",
    "عربي",
    "l" * 200,
    "[bold]x",
)


def test_hostile_names_of_classes_are_shown_and_not_obeyed(fleetnet: Run, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "hostile", 3, HOSTILE)
    undecodable = os.fsencode(folder / "plain") + b"/\xff\xfe.jpg"
    shutil.copy(folder / "plain" / "000.jpg", os.fsdecode(undecodable))
    result = fleetnet("data", "check", folder)
    assert result.code == 0, result
    for words in ("\\x1b[31mred", "new\\nline", "表情😀", "عربي", "[bold]x", "\\udcff"):
        assert words in result.out
    assert "\x1b" not in result.out
    for line in result.out.splitlines():
        assert cell_len(line) <= 100
    values = json.loads(fleetnet("data", "check", folder, "--json").out)
    assert {entry["name"] for entry in values["classes"]} == set(HOSTILE)
    assert any("\udcff\udcfe.jpg" in group["names"][1] for group in values["duplicates"])


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("classes", [2, 12, 13, 1000])
def test_the_check_fits_a_screen_with_any_number_of_classes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, classes: int
) -> None:
    from fleetnet.cli.console import console

    monkeypatch.setenv("COLUMNS", str(width))
    counts = tuple(
        ClassCount(f"class number {n} of quite a long name", 1000 + n, 750, 250 + n)
        for n in range(classes)
    )
    report = Report(
        source="folder big",
        images=sum(entry.images for entry in counts),
        multi_label=False,
        classes=counts,
        own_split=False,
        split_error=None,
        unreadable=(),
        sizes=None,
        formats={},
        modes={},
        turned=0,
        blank=(),
        duplicates=(),
        near_duplicates=None,
    )
    print_report(console(), report)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 32
    assert max(map(cell_len, lines)) <= width
    shown = [line for line in lines if line.startswith("class number")]
    assert len(shown) == min(classes, SHOWN_CLASSES)
    assert any("classes between" in line for line in lines) == (classes > SHOWN_CLASSES)
    hidden = sum(int(number) for line in lines for number in re.findall(r"… (\d+) classes", line))
    assert len(shown) + hidden == classes
