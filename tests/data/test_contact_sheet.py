import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fleetnet.data.contact_sheet import (
    SHOWN,
    ContactSheets,
    Tile,
    _spread,
    draw_sheet,
    sheet_name,
)
from fleetnet.data.sources import Sample
from fleetnet.errors import FleetnetError
from fleetnet.labels import printable
from samples import draw, encode


class Many:
    """Samples without bytes: sheets get their thumbnails handed."""

    description = "many"

    def __init__(self, classes: tuple[str, ...], labels: Sequence[tuple[int, ...]]) -> None:
        self.spec: dict[str, str] = {}
        self.shards = None
        self.classes = classes
        self.multi_label = True
        self.samples = [Sample(f"{n}.jpg", label) for n, label in enumerate(labels)]

    def read(self, index: int) -> bytes:
        raise NotImplementedError

    def size(self, index: int) -> int | None:
        return index


def thumbnail() -> bytes:
    return encode(draw("circle", np.random.default_rng(0), (96, 72)))


def sheets_of(source: Many, folder: Path) -> ContactSheets:
    return ContactSheets(source, np.zeros(len(source.samples), bool), folder)


def test_a_sheet_is_written_as_soon_as_its_class_is_complete(tmp_path: Path) -> None:
    source = Many(("one", "two"), [(0,), (0, 1), (1,)])
    sheets = sheets_of(source, tmp_path)
    sheets.add(0, thumbnail())
    assert not list(tmp_path.iterdir())
    sheets.add(1, thumbnail())
    assert [file.name for file in tmp_path.iterdir()] == ["0-one.jpg"]
    sheets.add(2, None)
    assert sheets.written == {"one": "0-one.jpg", "two": "1-two.jpg"}
    with Image.open(tmp_path / "1-two.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_a_sheet_counts_the_test_split_by_itself(tmp_path: Path) -> None:
    source = Many(("one",), [(0,)] * 4)
    held_out, tested = np.arange(4) == 1, np.arange(4) > 1
    sheets = ContactSheets(source, held_out, tmp_path, tested)
    assert sheets._subtitles == {0: "4 images, 1 held out, 2 to test on"}


def test_at_most_sixty_spread_over_the_class_are_wanted(tmp_path: Path) -> None:
    sheets = sheets_of(Many(("one", "two"), [(0,)] * 1000 + [(1,)] * 3), tmp_path)
    wanted = [index for index in range(1003) if sheets.wants(index)]
    assert len(wanted) == SHOWN + 3
    assert wanted[0] == 0
    assert wanted[SHOWN - 1] == 999
    assert max(np.diff(wanted[:SHOWN])) <= 18


@given(st.integers(1, 500), st.integers(1, 100))
def test_spread(length: int, count: int) -> None:
    chosen = _spread(list(range(length)), count)
    assert len(chosen) == len(set(chosen)) == min(length, count)
    assert chosen == sorted(chosen)


def test_every_thumbnail_has_a_place_of_its_own() -> None:
    red = io.BytesIO()
    Image.new("RGB", (96, 96), (250, 0, 0)).save(red, "JPEG")
    tiles = [Tile(f"{n}.jpg", red.getvalue()) for n in range(23)]
    pixels = np.asarray(draw_sheet("title", "subtitle", tiles)).astype(int)
    covered = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    assert covered.sum() == pytest.approx(23 * 96 * 96, rel=0.01)


@pytest.mark.parametrize(
    "name", ["", "x" * 300, "\x1b[31m\n\0", "表情😀", "عربي", "\udcff", "\u202etxt", "é"]
)
def test_any_name_can_be_written(name: str) -> None:
    sheet = draw_sheet(name, name, [Tile(f"folder/{name}.jpg", thumbnail())])
    empty = draw_sheet(name, name, [])
    assert sheet.size == empty.size


@given(
    st.text(), st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n)))
)
def test_file_names_are_safe_whatever_the_class_is_called(
    name: str, place: tuple[int, int]
) -> None:
    label, classes = place
    file = sheet_name(label, classes, name)
    stem = file.removesuffix(".jpg")
    assert file.isascii()
    assert len(file) <= 60
    assert all(sign.isalnum() or sign == "-" for sign in stem)
    assert int(stem.partition("-")[0]) == label


@given(st.text(st.characters()))
def test_printable_shows_and_never_acts(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_a_sheet_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sheets = sheets_of(Many(("one", "two"), [(0,), (1,)]), tmp_path / "file")
    with pytest.raises(FleetnetError, match="cannot write"):
        sheets.add(0, thumbnail())
