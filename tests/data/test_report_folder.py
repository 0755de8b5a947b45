"""The folder of a data check's report: whose it is, and what is taken out of it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleetnet.data.check import check
from fleetnet.data.contact_sheet import SHEET_NAME, sheet_name
from fleetnet.data.report_folder import (
    IN_THE_DATA,
    REPORT,
    prepare_folder,
    usual_folder,
    write_report,
)
from fleetnet.data.sources import Source, open_source
from fleetnet.errors import DataError


@pytest.fixture
def source(shapes: Path) -> Source:
    return open_source(str(shapes))


def test_the_usual_folder_has_the_name_of_the_data(source: Source) -> None:
    assert usual_folder(source) == Path("data-check/shapes")
    odd: Any = SimpleNamespace(spec={"data": "x/my data: ü.csv", "label": "defect"})
    assert usual_folder(odd) == Path("data-check/my-data-ü.csv-defect")
    odd.spec = {}
    assert usual_folder(odd) == Path("data-check/data")


def test_a_report_takes_an_older_ones_place(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    prepare_folder(folder, source)
    assert not folder.exists()
    report = check(source, near=None)
    assert write_report(folder, report) == folder / REPORT
    assert json.loads((folder / REPORT).read_text("utf-8")) == json.loads(
        json.dumps(report.to_json())
    )
    for name in ("0-cat.jpg", "11.jpg", "notes.txt", "cat.jpg"):
        (folder / name).touch()
    prepare_folder(folder, source)
    assert sorted(file.name for file in folder.iterdir()) == ["cat.jpg", "notes.txt", REPORT]


def test_every_sheet_is_known_by_its_name() -> None:
    for label, classes, name in ((0, 2, "cat"), (7, 200, "ü"), (12, 13, "a b/c")):
        assert SHEET_NAME.fullmatch(sheet_name(label, classes, name))


def test_other_folders_are_refused(source: Source, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="lies in the data itself: choose another output="
    ) as inside:
        prepare_folder(shapes / "report", source)
    assert inside.value.code == IN_THE_DATA
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(DataError, match="holds other files"):
        prepare_folder(tmp_path, source)
    assert (tmp_path / "thesis.txt").exists()
    with pytest.raises(DataError, match=r"cannot use .*thesis\.txt"):
        prepare_folder(tmp_path / "thesis.txt", source)
