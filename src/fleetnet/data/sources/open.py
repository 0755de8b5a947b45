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
from fleetnet.data.sources.shards import is_pattern, shards_in
from fleetnet.data.sources.webdataset import WebDatasetSource
from fleetnet.errors import DataError
from fleetnet.labels import printable


def open_source(
    data: str, label: str | None = None, options: SourceOptions | None = None
) -> Source:
    """Open labelled images by what a user types.

    Args:
        data: ``elpv``; a folder of class folders, of lists, of ``.tar`` or of ``.parquet`` files;
            a list (``.txt``, ``.lst``, ``.list``), ``.csv`` or ``.tsv`` file; a ``.tar`` or
            ``.parquet`` file, or a pattern of them.
        label: short for ``options.label``.
        options: what else there is to say; see the sources for what each one takes.

    Raises:
        DataError: there is nothing usable there, or an option has no meaning for it; the message
            says what to do.
    """
    options = options or SourceOptions()
    if label is not None:
        options = replace(options, label=label)
    source = _open(data, options)
    _check_names(source.classes)
    return source


def _open(data: str, options: SourceOptions) -> Source:
    path = Path(data)
    if data == ELPV and not path.is_dir():
        options.refuse_all_but(("label",), f"'{ELPV}'")
        return ElpvSource(options.label or "type")
    if options.label is not None:
        raise DataError(
            f"--label chooses among the labels of '{ELPV}'; name a column with --label-column"
        )
    if path.is_dir():
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
    return FolderSource(path)  # which says that it does not exist


def open_source_spec(spec: Mapping[str, str]) -> Source:
    """Open a source again from its :attr:`Source.spec`.

    Raises:
        DataError: it is no such description, or the data is no longer there.
    """
    if "data" not in spec:
        raise DataError("the description of the data does not say where it is")
    return open_source(str(spec["data"]), options=SourceOptions.from_spec(spec))


def _check_names(classes: Sequence[str]) -> None:
    """Refuse at the beginning what no bundle could hold in the end.

    Raises:
        DataError: a class's name is not Unicode, as that of a folder need not be.
    """
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"the name of class '{printable(name)}' is not UTF-8, but models carry it as such: "
                "rename the class"
            ) from None


def _open_folder(folder: Path, options: SourceOptions) -> Source:
    lists = listfile.lists_in(folder)
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
    options.refuse_all_but((), "a folder of class folders")
    return FolderSource(folder)


def _open_tars(data: str, options: SourceOptions) -> Source:
    options.refuse_all_but(WebDatasetSource.OPTIONS, "tar files")
    return WebDatasetSource(data, options)


def _open_parquet(data: str, options: SourceOptions) -> Source:
    options.refuse_all_but(ParquetSource.OPTIONS, "Parquet files")
    return ParquetSource(data, options)
