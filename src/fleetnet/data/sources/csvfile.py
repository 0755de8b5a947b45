"""CSV files with a heading: a column of paths, one or more of labels, perhaps one of parts."""

from __future__ import annotations

import csv
from itertools import compress
from pathlib import Path

from fleetnet.data.sources import headings
from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.labels import KnownClasses, LabelError, LabelReader, UniqueNames
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.parts import WORDS, settle
from fleetnet.data.sources.samples import NO_PART, SampleTable
from fleetnet.data.sources.text import open_text
from fleetnet.errors import DataError, nearest
from fleetnet.labels import printable

SUFFIXES = (".csv", ".tsv")
SEPARATORS = (",", ";", "\t", "|")


class CsvSource(ImageFiles):
    """A CSV file whose first line names its columns.

    Columns are found by their usual headings (:mod:`fleetnet.data.sources.headings`) or named.
    With ``multi_label`` ``names``, the label's cell holds several; with ``one-hot``, several
    columns hold 0 or 1 and their headings are the classes: ``label_columns``, or all columns that
    are not the path's or the part's.

    Args:
        path: the file.
        options: ``root`` (the file's own folder if None), ``separator`` (of columns; a tab for
            ``.tsv``, else the first of ``, ; tab |`` in the heading), ``classes``,
            ``image_column``, ``label_columns``, ``split_column``, ``multi_label`` and
            ``label_separator`` (``|`` if None).

    Raises:
        DataError: the file is missing or no CSV, a column is not there, a row is wrong (which is
            said), a path is there twice, or none of the files that were looked for exists.
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
        parts, used = settle(codes)
        try:
            self.classes, values, ends = reader.finish(parts, used)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        self.samples = SampleTable(compress(names, used), values, ends, parts[used])
        self.check_some_exist(str(path))


class _Rows:
    """The columns of a file that matter, and its rows."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        with open_text(path) as file:
            first = file.readline(2**20)
        self.separator = options.separator or _separator_of(path, first)
        if len(self.separator) != 1 or self.separator in '"\r\n':
            raise DataError(f"columns of a CSV file cannot be separated by {self.separator!r}")
        try:
            heading = next(csv.reader([first], delimiter=self.separator), [])
        except csv.Error as error:
            raise DataError(f"{path}, line 1: {error}") from None
        self.heading = heading
        try:
            self._choose(options)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def _choose(self, options: SourceOptions) -> None:
        if len(set(self.heading)) < len(self.heading):
            twice = next(name for name in self.heading if self.heading.count(name) > 1)
            raise DataError(f"two columns are called '{twice}'")
        self.image = headings.column(
            options.image_column, headings.IMAGE, self.heading, "image's path", "--image-column"
        )
        self.split = headings.find_column(
            options.split_column, headings.SPLIT, self.heading, "part"
        )
        if options.multi_label == "one-hot":
            rest = [name for name in self.heading if name not in (self.image, self.split)]
            wanted = options.label_columns or tuple(rest)
            self.labels = tuple(
                headings.column(name, (), self.heading, "label", "--label-column")
                for name in wanted
            )
            return
        if len(options.label_columns) > 1:
            raise DataError(
                "several columns of labels: say --multi-label one-hot if they hold 0 and 1"
            )
        wanted_one = options.label_columns[0] if options.label_columns else None
        self.labels = (
            headings.column(wanted_one, headings.LABEL, self.heading, "label", "--label-column"),
        )

    def read(self, reader: LabelReader) -> tuple[list[str], list[int]]:
        """Return all rows' paths and parts, having given their labels to the reader."""
        image = self.heading.index(self.image)
        split = None if self.split is None else self.heading.index(self.split)
        columns = [self.heading.index(name) for name in self.labels]
        paths = UniqueNames()
        parts: list[int] = []
        with open_text(self.path) as file:
            rows = csv.reader(file, delimiter=self.separator)
            try:
                next(rows)
                for row in filter(None, rows):
                    self._check(row)
                    paths.add(row[image].strip())
                    if reader.one_hot:
                        reader.add_several([row[column].strip() for column in columns])
                    else:
                        reader.add(row[columns[0]].strip())
                    parts.append(NO_PART if split is None else _part(row[split]))
            except (LabelError, csv.Error) as error:
                raise DataError(f"{self.path}, line {rows.line_num}: {error}") from None
        if not parts:
            raise DataError(f"{self.path} lists no images")
        return paths.names, parts

    def _check(self, row: list[str]) -> None:
        if len(row) != len(self.heading):
            raise LabelError(
                f"{len(row)} cells for {len(self.heading)} columns; a cell with the separator in "
                "it must be in double quotes"
            )


def _separator_of(path: Path, heading: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((sign for sign in SEPARATORS if sign in heading), ",")


def _part(cell: str) -> int:
    word = cell.strip().casefold()
    if word not in WORDS:
        raise LabelError(f"unknown part '{cell[:40]}'{nearest(word, WORDS)} (known: train, val)")
    return WORDS[word]
