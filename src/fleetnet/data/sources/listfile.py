"""List files, as PaddleClas and many ImageNet scripts write them: lines of a path and a label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fleetnet.data.sources import headings
from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import KnownClasses, LabelError, LabelReader, UniqueNames
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.paths import find_files
from fleetnet.data.sources.samples import NO_SPLIT, TRAIN, VAL, SampleTable
from fleetnet.data.sources.text import lines_of
from fleetnet.errors import DataError, at
from fleetnet.labels import printable

SUFFIXES = (".txt", ".lst", ".list")
TRAIN_LIST, VAL_LIST = "train_list.txt", "val_list.txt"


class ListSource(ImageFiles):
    """A list file, or one of training images and one of validation images.

    A line is a path, then white space, then the label, so that paths may have spaces in them; with
    a ``separator`` the label is what follows the last one. Empty lines and lines that begin with
    ``#`` are skipped, and so is a first line that names columns, such as ``path label``. Only a few
    of the files are looked for when the list is opened.

    Args:
        path: the list.
        options: ``root`` (the list's own folder if None), ``separator``, ``classes``,
            ``val_list`` (its paths are relative to the same root), ``multi_label`` and
            ``label_separator`` (a comma if None).

    Raises:
        DataError: a file is missing or no list, a line is wrong (the message names it), a path is
            listed twice, or none of the files that were looked for exists.
    """

    OPTIONS = ("root", "separator", "classes", "val_list", "multi_label", "label_separator")

    def __init__(self, path: Path, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        self.root = path.parent if options.root is None else Path(options.root)
        self.description = f"list {printable(path.name)}"
        self.spec = options.spec(path.resolve())
        self.multi_label = options.multi_label is not None
        reader = LabelReader(
            KnownClasses.read(options.classes), options.multi_label, options.label_separator or ","
        )
        lists = {path: NO_SPLIT}
        if options.val_list is not None:
            lists = {path: TRAIN, Path(options.val_list): VAL}
        names: list[str] = []
        codes: list[int] = []
        notes: list[str] = []
        for file, split in lists.items():
            before = len(names)
            names += _read_list(file, options, reader, notes)
            codes += [split] * (len(names) - before)
        splits = np.array(codes, np.int8)
        try:
            self.classes, values, ends = reader.finish(splits)
        except DataError as error:
            raise at(str(path), error, DataError, file=str(path)) from None
        names, found = find_files(self.root, names, str(path))
        self.notes = (*notes, *found)
        self.samples = SampleTable(names, values, ends, splits)


def lists_in(folder: Path) -> tuple[Path, Path | None] | None:
    """Return a folder's training and validation lists, if it has any by PaddleClas's names."""
    train, val = folder / TRAIN_LIST, folder / VAL_LIST
    if train.is_file():
        return train, val if val.is_file() else None
    return (val, None) if val.is_file() else None


def _read_list(
    path: Path, options: SourceOptions, reader: LabelReader, notes: list[str]
) -> list[str]:
    """Return the paths of a list, and add their labels to the reader."""
    separator = options.separator
    # Where the same separator is between labels and before them, the path ends at the first one.
    first = options.multi_label is not None and separator == (options.label_separator or ",")
    paths = UniqueNames()
    number = 0
    try:
        for number, line in lines_of(path):
            name, label = _fields(line, separator, first=first)
            if not paths.names and _is_heading(name, label):
                notes.append(f"line {number} of {path.name}, '{line[:80]}', is taken for a heading")
                continue
            paths.add(name)
            reader.add(label)
    except LabelError as error:
        place = f"{path}, line {number}"
        raise at(place, error, DataError, file=str(path), line=number) from None
    if not paths.names:
        raise DataError(f"{path} lists no images", file=str(path))
    return paths.names


def _is_heading(name: str, label: str) -> bool:
    return name.casefold() in headings.IMAGE and label.casefold() in headings.LABEL


def _fields(line: str, separator: str | None, *, first: bool) -> tuple[str, str]:
    """Return the path and the label of a line, split at the first separator or at the last.

    Raises:
        LabelError: there is no separator in it.
    """
    if separator is None:
        fields = line.rsplit(maxsplit=1)
    else:
        fields = line.split(separator, 1) if first else line.rsplit(separator, 1)
    if len(fields) != 2:
        shown = "white space" if separator is None else repr(separator)
        raise LabelError(
            f"'{line[:80]}' is not a path and a label with {shown} between them: give what is "
            "between them with separator=",
            arguments=["separator"],
        )
    return fields[0].strip(), fields[1].strip()


def _open(data: str, options: SourceOptions) -> ListSource:
    path = Path(data)
    lists = lists_in(path) if path.is_dir() else None
    if lists is None:
        return ListSource(path, options)
    train, val = lists
    if val is not None and options.val_list is None:
        options = replace(options, val_list=str(val))
    return ListSource(train, options)


SOURCE = SourceKind(
    name="list",
    title="lists",
    open=_open,
    options=ListSource.OPTIONS,
    suffixes=SUFFIXES,
    holds=lambda folder: lists_in(folder) is not None,
    rank=10,
)
