"""A page of thumbnails for each class, for people to look at."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fleetnet.amounts import count
from fleetnet.data.facts import THUMBNAIL
from fleetnet.data.sources import Source
from fleetnet.files import atomic_file
from fleetnet.labels import printable
from fleetnet.text import shorten

SHOWN = 60
"""Images of a class on its sheet, at most."""

SHEET_NAME = re.compile(r"\d+(-[A-Za-z0-9-]+)?\.jpg")
"""Matches whatever :func:`sheet_name` returns."""

_COLUMNS = 10
_GAP, _MARGIN, _TITLE, _CAPTION = 8, 16, 48, 14
_PAPER, _INK, _PALE = "white", "black", "#606060"
_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "arial.ttf",
)
"""System fonts for names with characters that Pillow's own font lacks."""

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Tile(NamedTuple):
    """One image on a sheet."""

    name: str
    thumbnail: bytes
    """JPEG."""


class ContactSheets:
    """Collects thumbnails and writes the sheet of a class when its last one is there.

    Args:
        source: labelled images.
        held_out: ``bool[N]``, whether each image is held out.
        folder: where to write; created with the first sheet.
        tested: ``bool[N]``, whether each image is in the test split; None for none.
    """

    def __init__(
        self,
        source: Source,
        held_out: npt.NDArray[np.bool_],
        folder: Path,
        tested: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.source = source
        self.folder = folder
        self.written: dict[str, str] = {}
        """File of each class's sheet, in the folder."""
        members: dict[int, list[int]] = defaultdict(list)
        for index, sample in enumerate(source.samples):
            for label in sample.labels:
                members[label].append(index)
        self._subtitles: dict[int, str] = {}
        self._waiting: dict[int, int] = {}
        self._labels: dict[int, list[int]] = defaultdict(list)
        self._tiles: dict[int, list[Tile]] = defaultdict(list)
        for label, indices in members.items():
            chosen = _spread(indices, SHOWN)
            held = int(held_out[indices].sum())
            test = 0 if tested is None else int(tested[indices].sum())
            self._subtitles[label] = _subtitle(len(indices), held, test, len(chosen))
            self._waiting[label] = len(chosen)
            for index in chosen:
                self._labels[index].append(label)

    def wants(self, index: int) -> bool:
        """Tell whether sample ``index`` is on a sheet."""
        return index in self._labels

    def add(self, index: int, thumbnail: bytes | None) -> None:
        """Add sample ``index``'s thumbnail, or None if it cannot be read.

        Raises:
            FleetnetError: a sheet that is now complete cannot be written.
        """
        for label in self._labels.get(index, ()):
            if thumbnail is not None:
                self._tiles[label].append(Tile(self.source.samples[index].name, thumbnail))
            self._waiting[label] -= 1
            if not self._waiting[label]:
                self._write(label)

    def _write(self, label: int) -> None:
        name = self.source.classes[label]
        file = sheet_name(label, len(self.source.classes), name)
        sheet = draw_sheet(name, self._subtitles[label], self._tiles.pop(label, []))
        with atomic_file(self.folder / file) as path:
            sheet.save(path, "JPEG", quality=88)
        self.written[name] = file


def sheet_name(label: int, classes: int, name: str) -> str:
    """Return a file name that is safe on every system and unique, whatever the class is called."""
    digits = len(str(classes - 1))
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40].strip("-")
    return f"{label:0{digits}d}{'-' if readable else ''}{readable}.jpg"


def draw_sheet(title: str, subtitle: str, tiles: Sequence[Tile]) -> Image.Image:
    """Draw thumbnails in rows of ten, each above the end of its file's name."""
    cell = THUMBNAIL + _GAP
    rows = max(-(-len(tiles) // _COLUMNS), 1)
    width = 2 * _MARGIN + _COLUMNS * cell - _GAP
    height = 2 * _MARGIN + _TITLE + rows * (cell + _CAPTION)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _write_line(pen, (_MARGIN, _MARGIN - 4), title, 20, _INK, width - 2 * _MARGIN)
    _write_line(pen, (_MARGIN, _MARGIN + 21), subtitle, 13, _PALE, width - 2 * _MARGIN)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _COLUMNS)
        left, top = _MARGIN + column * cell, _MARGIN + _TITLE + row * (cell + _CAPTION)
        with Image.open(io.BytesIO(tile.thumbnail), formats=("JPEG",)) as image:
            # In the middle, just above the caption.
            shift = (THUMBNAIL - image.width) // 2, THUMBNAIL - image.height
            sheet.paste(image, (left + shift[0], top + shift[1]))
        caption = tile.name.rpartition("/")[2]
        _write_line(pen, (left, top + THUMBNAIL + 1), caption, 10, _PALE, THUMBNAIL, keep_end=True)
    return sheet


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """Choose at most ``count``, evenly spaced, with the first and the last."""
    if len(indices) <= count:
        return list(indices)
    return [indices[place] for place in np.linspace(0, len(indices) - 1, count).astype(int)]


def _subtitle(images: int, held_out: int, tested: int, shown: int) -> str:
    words = f"{count(images, 'image')}, {held_out:,} held out"
    words += f", {tested:,} to test on" if tested else ""
    return words if shown == images else f"{words}; {shown} shown, evenly over the class"


def _write_line(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    color: str,
    room: int,
    *,
    keep_end: bool = False,
) -> None:
    """Write as much of a text as there is room for, in a font that has its characters."""
    text = printable(text)
    text = text[-room:] if keep_end else text[:room]  # no character is narrower than a pixel
    font = _font_for(text, size)
    text = "".join(sign if _has(font, sign) else _code(sign) for sign in text)
    short = shorten(text, room, lambda shown: pen.textlength(shown, font), keep_end=keep_end)
    pen.text(place, short, color, font)


def _code(sign: str) -> str:
    return f"[{ord(sign):X}]"


def _font_for(text: str, size: int) -> _Font:
    """Return the first font with all characters of a text, else the one that lacks the fewest."""
    best, fewest = _fonts(size)[0], len(text) + 1
    for font in _fonts(size):
        lacking = sum(not _has(font, sign) for sign in set(text))
        if lacking < fewest:
            best, fewest = font, lacking
        if not lacking:
            break
    return best


@cache
def _fonts(size: int) -> tuple[_Font, ...]:
    found: list[_Font] = [ImageFont.load_default(size)]
    for name in _FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(found)


@cache
def _has(font: _Font, sign: str) -> bool:
    return sign.isspace() or bytes(font.getmask(sign)) != _missing(font)


@cache
def _missing(font: _Font) -> bytes:
    """Return what a font draws for a character that it lacks: U+FFFF never is one."""
    return bytes(font.getmask("\uffff"))
