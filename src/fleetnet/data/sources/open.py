"""Opening labelled images by what a user types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fleetnet.data.sources import csvfile, listfile, parquet, webdataset
from fleetnet.data.sources.csvfile import CsvSource
from fleetnet.data.sources.elpv import ELPV, ElpvSource
from fleetnet.data.sources.folder import FolderSource
from fleetnet.data.sources.listfile import ListSource
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.parquet import ParquetSource
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.shards import (
    configurations,
    folders_in,
    is_pattern,
    shards_in,
)
from fleetnet.data.sources.webdataset import WebDatasetSource
from fleetnet.errors import DataError
from fleetnet.labels import printable
from fleetnet.text import some

SHOWN = 12
"""Configurations that an error lists."""


def open_source(
    data: str, label: str | None = None, options: SourceOptions | None = None
) -> Source:
    """Open labelled images by what a user types.

    Args:
        data: ``elpv``; a folder of class folders, of lists, of ``.tar`` or of ``.parquet`` files;
            a list (``.txt``, ``.lst``, ``.list``), ``.csv`` or ``.tsv`` file; a ``.tar`` or
            ``.parquet`` file, or a pattern of them.
        label: short for ``options.label``.
        options: all other options; each source documents those that it takes.

    Raises:
        DataError: there is no usable data, or an option does not apply to it; the message says
            what to do.
    """
    options = options or SourceOptions()
    if label is not None:
        options = replace(options, label=label)
    source = _open(data, options)
    _check_names(source.classes)
    return source


def _open(data: str, options: SourceOptions) -> Source:
    path = Path(data)
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise DataError(f"cannot read {data}: {error.strerror or error}") from None
    if data == ELPV and not is_folder:
        options.refuse_all_but(("label",), f"'{ELPV}'")
        return ElpvSource(options.label or "type")
    if options.label is not None:
        raise DataError(
            f"--label chooses among the labels of '{ELPV}'; name a column with --label-column"
        )
    if is_folder:
        return _open_folder(path, options)
    suffix = path.suffix.lower()
    if suffix in listfile.SUFFIXES:
        options.refuse_all_but(ListSource.OPTIONS, "lists")
        return ListSource(path, options)
    if suffix in csvfile.SUFFIXES:
        options.refuse_all_but(CsvSource.OPTIONS, "CSV files")
        return CsvSource(path, options)
    if suffix == webdataset.SUFFIX:
        return _open_tars(data, options)
    if suffix == parquet.SUFFIX:
        return _open_parquet(data, options)
    if data.lower().endswith(webdataset.COMPRESSED):
        raise DataError(
            f"{data} is compressed: decompress it to .tar, since images inside could not be read "
            "one at a time"
        )
    if path.exists() or is_pattern(data):
        raise DataError(
            f"{data} is not a folder, nor does its name end in "
            f"{', '.join((*listfile.SUFFIXES, *csvfile.SUFFIXES, '.tar'))} or .parquet"
        )
    return FolderSource(path)  # raises the error that it does not exist


def open_source_spec(spec: Mapping[str, str]) -> Source:
    """Open a source again from its :attr:`Source.spec`.

    Raises:
        DataError: it is not such a spec, or the data is no longer there.
    """
    if "data" not in spec:
        raise DataError("the description of the data does not say where it is")
    return open_source(str(spec["data"]), options=SourceOptions.from_spec(spec))


def _check_names(classes: Sequence[str]) -> None:
    """Refuse names that no bundle could hold, before any work is done.

    Raises:
        DataError: a class's name is not Unicode, as the name of a folder may be.
    """
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"the name of class '{printable(name)}' is not UTF-8, which a model needs: rename "
                "the class"
            ) from None


def _open_folder(folder: Path, options: SourceOptions) -> Source:
    try:
        lists = listfile.lists_in(folder)
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from None
    if lists is not None:
        options.refuse_all_but(ListSource.OPTIONS, "lists")
        train, val = lists
        if val is not None and options.val_list is None:
            options = replace(options, val_list=str(val))
        return ListSource(train, options)
    if shards_in(folder, webdataset.SUFFIX):
        return _open_tars(str(folder), options)
    if shards_in(folder, parquet.SUFFIX):
        return _open_parquet(str(folder), options)
    for suffix in webdataset.COMPRESSED:
        if shards_in(folder, suffix):
            raise DataError(
                f"{folder} has shards that are compressed ({suffix}): decompress them to .tar, "
                "since images inside could not be read one at a time"
            )
    return _open_class_folders(folder, options)


def _open_class_folders(folder: Path, options: SourceOptions) -> Source:
    """Open class folders; if there are none, look for shards in the folders below.

    Class folders come first, so that a stray archive below a class changes nothing.
    """
    try:
        source = FolderSource(folder)
        _check_not_described(folder, source)
    except DataError as error:
        if found := configurations(folder, parquet.SUFFIX):
            return _open_parquet(str(_only(folder, found, "Parquet files")), options)
        if found := configurations(folder, webdataset.SUFFIX):
            return _open_tars(str(_only(folder, found, "tar files")), options)
        described = _description_in(folder)
        if described is None:
            raise
        raise DataError(f"{error}; {described}") from None
    options.refuse_all_but((), "a folder of class folders")
    return source


def _check_not_described(folder: Path, source: Source) -> None:
    """Refuse a single class folder if the labels of its images are somewhere else.

    Raises:
        DataError: there is a description of the images beside them, or there are shards below.
    """
    if len(source.classes) > 1:
        return
    if _description_in(folder) or any(
        configurations(folder, suffix) for suffix in (parquet.SUFFIX, webdataset.SUFFIX)
    ):
        raise DataError(f"{folder} has only one class folder ('{source.classes[0]}')")


def _only(folder: Path, found: Sequence[Path], kind: str) -> Path:
    """Return the only configuration of a data set.

    Raises:
        DataError: there are several.
    """
    if len(found) > 1:
        names = [place.relative_to(folder).as_posix() for place in found]
        raise DataError(
            f"{folder} has several configurations, each with {kind} in a folder of its own: "
            f"{some(names, SHOWN)}; give the one you want, such as {found[0]}"
        )
    return found[0]


def _description_in(folder: Path) -> str | None:
    """Return a hint for images whose labels are in a file beside them, as on the hub."""
    for place in (folder, *folders_in(folder)):
        if (table := place / "metadata.csv").is_file():
            return f"if their labels are in {table}, give that file"
        if (table := place / "metadata.jsonl").is_file():
            return (
                f"{table} is not read: if labels are in it, write them to a CSV file with the "
                "columns file_name and label, and give that"
            )
    return None


def _open_tars(data: str, options: SourceOptions) -> Source:
    options.refuse_all_but(WebDatasetSource.OPTIONS, "tar files")
    return WebDatasetSource(data, options)


def _open_parquet(data: str, options: SourceOptions) -> Source:
    options.refuse_all_but(ParquetSource.OPTIONS, "Parquet files")
    return ParquetSource(data, options)
