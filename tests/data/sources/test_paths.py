"""Paths as lists write them, and the files that are meant."""

import os
from pathlib import Path

import pytest

from fleetnet.data.sources import Source, SourceOptions, open_source
from fleetnet.errors import DataError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Files im/cat/000.jpg … im/dog/002.jpg."""
    for kind in ("cat", "dog"):
        (tmp_path / "im" / kind).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "im" / kind / f"{number:03d}.jpg").write_bytes(
                b"%s %d" % (kind.encode(), 1)
            )
    return tmp_path


NAMES = [f"im/{kind}/{number:03d}" for kind in ("cat", "dog") for number in range(3)]


def a_list(folder: Path, names: list[str], name: str = "list.txt") -> str:
    lines = [f"{name} {'cat' if 'cat' in name else 'dog'}" for name in names]
    (folder / name).write_text("\r\n".join(lines))
    return str(folder / name)


def a_table(folder: Path, names: list[str], heading: str = "image_id,label") -> str:
    lines = [f'"{name}",{"cat" if "cat" in name else "dog"}' for name in names]
    (folder / "table.csv").write_text("\n".join([heading, *lines]))
    return str(folder / "table.csv")


def notes(source: Source) -> tuple[str, ...]:
    return tuple(source.notes)  # type: ignore[attr-defined]


def refuses(path: str, *words: str, root: Path | None = None) -> None:
    with pytest.raises(DataError) as error:
        open_source(path, options=SourceOptions(root=None if root is None else str(root)))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", [a_list, a_table])
def test_backslashes_are_read_as_slashes(images: Path, write: object) -> None:
    written = [name.replace("/", "\\") + ".jpg" for name in NAMES]
    source = open_source(write(images, written))  # type: ignore[operator]
    assert [sample.name for sample in source.samples] == [f"{name}.jpg" for name in NAMES]
    assert source.read(3) == b"dog 1"
    (note,) = notes(source)
    assert "im\\cat\\000.jpg, are read as im/cat/000.jpg" in note


@pytest.mark.skipif(os.sep == "\\", reason="a file cannot have such a name")
def test_a_file_of_that_very_name_comes_first(images: Path) -> None:
    (images / "im\\cat\\000.jpg").write_bytes(b"literal")
    source = open_source(a_list(images, ["im\\cat\\000.jpg", "im/dog/000.jpg"]))
    assert source.read(0) == b"literal"
    assert notes(source) == ()


def test_backslashes_that_lead_nowhere_are_explained(images: Path) -> None:
    refuses(a_list(images, ["no\\cat\\000.jpg", "no\\dog\\000.jpg"]),
            "there is no", "nor is there no/cat/000.jpg", "backslashes", "root=")  # fmt: skip
    refuses(a_list(images, ["C:\\x\\cat.jpg", "C:\\x\\dog.jpg"]), "of a Windows machine")


def test_backslashes_lead_no_farther_than_slashes(images: Path) -> None:
    inner = images / "lists"
    inner.mkdir()
    names = ["..\\im\\cat\\000.jpg", "..\\im\\dog\\000.jpg"]
    assert open_source(a_list(inner, names)).samples[0].name == "../im/cat/000.jpg"
    absolute = [f"\\\\server{images}\\im\\{kind}\\000.jpg" for kind in ("cat", "dog")]
    refuses(a_list(images, absolute), "there is no")


@pytest.mark.parametrize("write", [a_list, a_table])
def test_endings_are_those_that_are_there(images: Path, write: object) -> None:
    (images / "im" / "dog" / "002.jpg").rename(images / "im" / "dog" / "002.PNG")
    source = open_source(write(images, NAMES))  # type: ignore[operator]
    assert [sample.name for sample in source.samples] == [
        *(f"{name}.jpg" for name in NAMES[:-1]), "im/dog/002.PNG",
    ]  # fmt: skip
    (note,) = notes(source)
    assert "im/cat/000, are im/cat/000.jpg" in note


def test_backslashes_and_no_endings(images: Path) -> None:
    source = open_source(a_table(images, [name.replace("/", "\\") for name in NAMES]))
    assert source.samples[0].name == "im/cat/000.jpg"
    assert len(notes(source)) == 2


def test_each_folder_is_read_once(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[str] = []
    original = os.scandir

    def counting(place: str) -> object:
        scanned.append(str(place))
        return original(place)

    monkeypatch.setattr(os, "scandir", counting)
    open_source(a_list(images, NAMES))
    assert list(map(Path, scanned)) == [images / "im" / kind for kind in ("cat", "dog")]


def test_dots_in_names_are_no_endings(images: Path) -> None:
    for kind in ("cat", "dog"):
        (images / f"v1.2.{kind}.jpg").write_bytes(b"x")
    source = open_source(a_list(images, ["v1.2.cat", "v1.2.dog"]))
    assert [sample.name for sample in source.samples] == ["v1.2.cat.jpg", "v1.2.dog.jpg"]


def test_files_without_endings_are_read_as_they_are(images: Path) -> None:
    for kind in ("cat", "dog"):
        (images / kind).write_bytes(b"bare")
        (images / f"{kind}.jpg").write_bytes(b"with")
    source = open_source(a_list(images, ["cat", "dog"]))
    assert source.read(0) == b"bare"
    assert notes(source) == ()
    mixed = open_source(a_list(images, ["im/cat/000.jpg", "dog"]))
    assert mixed.read(1) == b"bare"


def test_two_files_for_a_name_are_refused(images: Path) -> None:
    (images / "im" / "dog" / "001.png").write_bytes(b"other")
    refuses(a_list(images, NAMES), "'im/dog/001' may be 001.jpg or 001.png: write the ending")


def test_two_names_for_a_file_are_refused(images: Path) -> None:
    refuses(a_list(images, [*NAMES, "im/dog/001.jpg"]),
            "'im/dog/001' and 'im/dog/001.jpg' are the same file")  # fmt: skip
    refuses(a_list(images, ["im\\cat\\000.jpg", "im/cat/000.jpg", "im/dog/000.jpg"]),
            "are the same file, im/cat/000.jpg")  # fmt: skip


def test_a_few_names_that_are_not_there_are_left_for_reading(images: Path) -> None:
    source = open_source(a_list(images, [*NAMES, "im/dog/999", "no/dog/1"]))
    assert [sample.name for sample in source.samples][-2:] == ["im/dog/999", "no/dog/1"]


def test_nothing_found_says_what_was_looked_for(images: Path) -> None:
    refuses(a_list(images, ["im/cat/9", "im/dog/9"]), "nor is there an image of that name with an")
    refuses(
        a_list(images, ["x.jpg cat", "y.jpg dog"]), "paths are relative to", "another place with"
    )
    refuses(a_list(images, ["x" * 9999, f"cat{'/y' * 9999}"]), "there is no")


def test_the_place_that_paths_count_from_is_found(images: Path) -> None:
    where = f"give root='{images / 'im'}'"
    refuses(a_list(images, ["cat/000.jpg", "dog/000.jpg"]), "but there is", "000.jpg: give", where)
    refuses(a_table(images, ["cat\\000", "dog\\000"]), "but there is", "000.jpg: give", where)
    inner = images / "im"
    refuses(a_list(inner, ["im/cat/000.jpg", "im/dog/000.jpg"]), f"give root='{images}'")
    refuses(a_list(images / "im", ["im/cat/9.jpg", "im/dog/0.jpg"]), "another place with root=")


def test_kaggles_table_of_ids(images: Path) -> None:
    for kind in ("cat", "dog"):
        (images / f"{kind}1.jpg").write_bytes(b"x")
    source = open_source(a_table(images, ["cat1", "dog1"], "id,label"))
    assert [sample.name for sample in source.samples] == ["cat1.jpg", "dog1.jpg"]
    path = a_table(images, ["cat1", "dog1"], "file,id")
    refuses(path, "no column for the label")
