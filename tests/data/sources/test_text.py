"""Lists and tables as editors and spreadsheets save them."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.sources import SourceOptions, open_source
from fleetnet.data.sources.text import lines_of, open_text
from fleetnet.errors import DataError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a", "b", "é"):
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    return tmp_path


def refuses(path: Path, *words: str, **options: object) -> None:
    with pytest.raises(DataError) as error:
        open_source(str(path), options=SourceOptions(**options))  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n", "\ufeffsep=;\r\n"])
def test_excels_first_line_names_the_separator(images: Path, first: str) -> None:
    path = images / "table.csv"
    path.write_text(f"{first}image;label\r\na.jpg;big, grey\r\nb.jpg;small\r\n", newline="")
    source = open_source(str(path))
    assert source.classes == ("big, grey", "small")
    path.write_text(f"{first}image;label\r\na.jpg;x;y\r\n", newline="")
    refuses(path, "line 3", "3 cells for 2 columns")
    path.write_text(f"{first}\r\n", newline="")
    refuses(path, "no column for the image's path")


def test_a_separator_that_is_said_may_be_one_that_is_not_guessed(images: Path) -> None:
    path = images / "table.csv"
    path.write_text("sep=!\nimage!label\na.jpg!1,5\nb.jpg!2\n")
    refuses(path, "line 3", "looks like several")
    path.write_text("sep=\t\nimage\tlabel\na.jpg\tx,y\nb.jpg\tz\n")
    assert open_source(str(path)).classes == ("x,y", "z")
    path.write_text("sep=;\nimage,label\na.jpg,x\nb.jpg,z\n")
    assert open_source(str(path), options=SourceOptions(separator=",")).classes == ("x", "z")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_excels_unicode_text(images: Path, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    table = images / "table.csv"
    table.write_text(f"{mark}image\tlabel\r\né.jpg\tgrün\r\nb.jpg\trot\r\n", encoding, newline="")
    assert open_source(str(table)).classes == ("grün", "rot")
    listed = images / "list.txt"
    listed.write_text(f"{mark}é.jpg\tgrün\r\nb.jpg\trot\r\n", encoding, newline="")
    assert open_source(str(listed)).samples[0].name == "é.jpg"
    listed.write_bytes(listed.read_bytes()[:-1])
    refuses(listed, "begins as UTF-16 text but is damaged")


def test_a_byte_that_is_no_utf8_is_found(images: Path) -> None:
    path = images / "table.csv"
    lines = ["image,label", *(f"{n}.jpg,ünder" for n in range(40_000)), "é.jpg,x"]
    path.write_bytes("\n".join(lines[:-1]).encode() + b"\n" + lines[-1].encode("cp1252") + b"\n")
    refuses(path, "not UTF-8 text: line 40002 has the byte 0xE9 ('é'", "'CSV UTF-8'", "iconv")
    listed = images / "list.txt"
    listed.write_bytes("é.jpg x".encode("cp1252"))
    refuses(listed, "line 1 has the byte 0xE9")


@given(st.integers(0, 6), st.sampled_from([b"\xff", b"\xe9", b"\x81"]), st.integers(1, 9))
def test_the_line_of_the_byte_is_right_however_long_lines_are(
    lines: int, byte: bytes, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        path = Path(place) / "list.txt"
        path.write_bytes("äöü ß\n".encode() * lines + b"abc" + byte + b"\n")
        with pytest.raises(DataError) as error:
            list(lines_of(path))
        patch.setattr("fleetnet.data.sources.text.MAX_LINE", limit)
        with pytest.raises(DataError) as again, open_text(path) as file:
            file.read()
    for message in map(str, (error.value, again.value)):
        assert f"line {lines + 1} has the byte 0x{byte[0]:02X}" in message


def test_a_heading_of_a_list_is_no_image(images: Path) -> None:
    path = images / "list.txt"
    path.write_text("# made by hand\nImage\tlabel\na.jpg\tx\nb.jpg\ty\n")
    source = open_source(str(path))
    assert [sample.name for sample in source.samples] == ["a.jpg", "b.jpg"]
    assert source.notes == ("line 2 of list.txt, 'Image\tlabel', is taken for a heading",)  # type: ignore[attr-defined]


def test_blanks_before_a_quote_are_not_in_the_cell(images: Path) -> None:
    path = images / "table.csv"
    path.write_text('image, label\na.jpg, "big, grey"\nb.jpg,  small \n')
    options = SourceOptions(label_columns=("label",))
    assert open_source(str(path), options=options).classes == ("big, grey", "small")


@pytest.mark.parametrize("name", ["list.txt", "table.csv", "shard.tar", "data.parquet"])
def test_a_git_lfs_pointer_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    )
    refuses(tmp_path / name, f"{name} is a Git LFS pointer", "'git lfs pull'")
