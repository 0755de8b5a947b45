"""CSV files with a heading: a column of paths, one or more of labels, and maybe one of splits."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from fleetnet.amounts import count
from fleetnet.data.sources import headings
from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import KnownClasses, LabelError, LabelReader, UniqueNames
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.paths import find_files
from fleetnet.data.sources.samples import NO_SPLIT, TEST, SampleTable
from fleetnet.data.sources.split_names import WORDS, splits_to_use, with_test_if_it_fits
from fleetnet.data.sources.text import MAX_LINE, open_text
from fleetnet.errors import DataError, at, nearest
from fleetnet.labels import printable

if TYPE_CHECKING:
    import _csv

SUFFIXES = (".csv", ".tsv")
SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""Excel's own first line."""


class CsvSource(ImageFiles):
    """A CSV file whose first line names its columns.

    Columns are found by their usual headings (:mod:`fleetnet.data.sources.headings`) or named.
    With ``multi_label`` ``names``, the label's cell holds several; with ``one-hot``, several
    columns hold 0 or 1 and their headings are the classes: ``label_columns``, or all columns but
    those of the path and the split.

    Args:
        path: the file.
        options: ``root`` (the file's own folder if None), ``separator`` (of columns; if None, the
            one in a first line such as ``sep=;``, a tab for ``.tsv``, else the first of
            ``, ; tab |`` in the heading), ``classes``, ``image_column``, ``label_columns``,
            ``split_column``, ``multi_label`` and ``label_separator`` (``|`` if None).

    Raises:
        DataError: the file is missing or no CSV, a column is missing, a row is wrong (the message
            names it), a path occurs twice, or none of the files that were looked for exists.
    """

    OPTIONS = (
        "root", "separator", "classes", "image_column", "label_columns", "split_column",
        "multi_label", "label_separator",
    )  # fmt: skip

    def __init__(self, path: Path, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        self.root = path.parent if options.root is None else Path(options.root)
        self.description = f"table {printable(path.name)}"
        self.spec = options.spec(path.resolve())
        self.multi_label = options.multi_label is not None
        rows = _Rows(path, options)
        known = KnownClasses.read(options.classes)
        if options.multi_label == "one-hot":
            known = known or KnownClasses(rows.labels, "the columns")
        reader = LabelReader(known, options.multi_label, options.label_separator or "|")
        names, codes = rows.read(reader)
        splits, used = splits_to_use(codes)
        is_test = used & (splits == TEST)
        try:
            labels, used, self.notes = with_test_if_it_fits(
                lambda rows: reader.finish(splits, rows),
                used,
                used & ~is_test if is_test.any() else None,
            )
        except DataError as error:
            raise at(str(path), error, DataError, file=str(path)) from None
        self.classes, values, ends = labels
        names, notes = find_files(self.root, list(compress(names, used)), str(path))
        self.notes = (*self.notes, *notes)
        self.samples = SampleTable(names, values, ends, splits[used])


class _Rows:
    """The columns of a file that matter, and its rows."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        with open_text(path) as file:
            first = file.readline(MAX_LINE)
            stated = _SEPARATOR_LINE.fullmatch(first.strip(" \r\n"))
            first = file.readline(MAX_LINE) if stated else first
        self.before = 1 if stated else 0
        """Lines before the heading."""
        self.separator = options.separator or (stated[1] if stated else _separator_of(path, first))
        if len(self.separator) != 1 or self.separator in '"\r\n':
            raise DataError(f"columns of a CSV file cannot be separated by {self.separator!r}")
        try:
            heading = next(self._cells([first]), [])
        except csv.Error as error:
            line = self.before + 1
            place = f"{path}, line {line}"
            raise at(place, error, DataError, file=str(path), line=line) from None
        self.heading = heading
        try:
            self._choose(options)
        except DataError as error:
            raise at(str(path), error, DataError, file=str(path)) from None

    def _choose(self, options: SourceOptions) -> None:
        if len(set(self.heading)) < len(self.heading):
            twice = next(name for name in self.heading if self.heading.count(name) > 1)
            raise DataError(f"two columns are called '{twice}'")
        self.image = headings.column(
            options.image_column, headings.IMAGE, self.heading, "image's path", "image_column"
        )
        self.split = headings.find_column(
            options.split_column, headings.SPLIT, self.heading, "split"
        )
        if options.multi_label == "one-hot":
            rest = [name for name in self.heading if name not in (self.image, self.split)]
            wanted = options.label_columns or tuple(rest)
            self.labels = tuple(
                headings.column(name, (), self.heading, "label", "label_columns") for name in wanted
            )
            return
        if len(options.label_columns) > 1:
            raise DataError(
                "several columns of labels: say multi_label='one-hot' if they hold 0 and 1",
                arguments=["multi_label"],
            )
        wanted_one = options.label_columns[0] if options.label_columns else None
        self.labels = (
            headings.column(wanted_one, headings.LABEL, self.heading, "label", "label_columns"),
        )

    def read(self, reader: LabelReader) -> tuple[list[str], list[int]]:
        """Return the paths and splits of all rows, and add their labels to the reader."""
        image = self.heading.index(self.image)
        split = None if self.split is None else self.heading.index(self.split)
        columns = [self.heading.index(name) for name in self.labels]
        paths = UniqueNames()
        splits: list[int] = []
        with open_text(self.path) as file:
            for _ in range(self.before):
                file.readline()
            rows = self._cells(file)
            try:
                next(rows)
                for row in filter(None, rows):
                    self._check(row)
                    paths.add(row[image].strip())
                    if reader.one_hot:
                        reader.add_several([row[column].strip() for column in columns])
                    else:
                        reader.add(row[columns[0]].strip())
                    splits.append(NO_SPLIT if split is None else _split_in(row[split]))
            except (LabelError, csv.Error) as error:
                line = self.before + rows.line_num
                place = f"{self.path}, line {line}"
                raise at(place, error, DataError, file=str(self.path), line=line) from None
        if not splits:
            raise DataError(f"{self.path} lists no images", file=str(self.path))
        return paths.names, splits

    def _cells(self, lines: Iterable[str]) -> _csv.Reader:
        # A quote after 'a.jpg, ' still begins a cell.
        return csv.reader(
            lines, delimiter=self.separator, skipinitialspace=not self.separator.isspace()
        )

    def _check(self, row: list[str]) -> None:
        if len(row) != len(self.heading):
            raise LabelError(
                f"{count(len(row), 'cell')} for {count(len(self.heading), 'column')}; a cell with "
                "the separator in it must be in double quotes"
            )


def _separator_of(path: Path, heading: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((sign for sign in SEPARATORS if sign in heading), ",")


def _split_in(cell: str) -> int:
    word = cell.strip().casefold()
    if word not in WORDS:
        raise LabelError(
            f"unknown split '{cell[:40]}'{nearest(word, WORDS)} (known: train, val, test)",
            code="unknown-split",
            given=cell[:40],
            known=list(WORDS),
        )
    return WORDS[word]


SOURCE = SourceKind(
    name="csv",
    title="CSV files",
    open=lambda data, options: CsvSource(Path(data), options),
    options=CsvSource.OPTIONS,
    suffixes=SUFFIXES,
    rank=20,
)
