"""A folder that nothing else takes: class folders, or what is in the folders below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleetnet.data.sources import parquet, webdataset
from fleetnet.data.sources.folder import FolderSource
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.shards import configurations, folders_in
from fleetnet.errors import DataError, following
from fleetnet.text import some

SHOWN = 12
"""Configurations that an error lists."""


def open_class_folders(folder: Path, options: SourceOptions) -> Source:
    """Open class folders; if there are none, look for shards in the folders below.

    Class folders come first, so that a stray archive below a class changes nothing.

    Raises:
        DataError: there are neither, or an option does not apply.
    """
    try:
        source = FolderSource(folder)
        _check_not_described(folder, source)
    except DataError as error:
        for kind in (parquet.SOURCE, webdataset.SOURCE):
            if found := configurations(folder, *kind.suffixes):
                options.refuse_all_but(kind.options, kind.title)
                return kind.open(str(_only(folder, found, kind.title)), options)
        described = _description_in(folder)
        if described is None:
            raise
        raise following(error, f"{error}; {described}", DataError) from None
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
        raise DataError(
            f"{folder} has only one class folder ('{source.classes[0]}')", file=str(folder)
        )


def _only(folder: Path, found: Sequence[Path], kind: str) -> Path:
    """Return the only configuration of a data set.

    Raises:
        DataError: there are several.
    """
    if len(found) > 1:
        names = [place.relative_to(folder).as_posix() for place in found]
        raise DataError(
            f"{folder} has several configurations, each with {kind} in a folder of its own: "
            f"{some(names, SHOWN)}; give the one you want, such as {found[0]}",
            file=str(folder),
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
