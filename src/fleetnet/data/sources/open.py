"""Opening labelled images by what a user types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fleetnet.data.sources.class_folders import open_class_folders
from fleetnet.data.sources.folder import FolderSource
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.registry import SOURCES
from fleetnet.data.sources.shards import is_pattern
from fleetnet.errors import DataError
from fleetnet.labels import printable


def open_source(
    data: str, label: str | None = None, options: SourceOptions | None = None
) -> Source:
    """Open labelled images by what a user types.

    Args:
        data: ``elpv``; a folder of class folders, of lists, of ``.tar`` or of ``.parquet`` files;
            a list (``.txt``, ``.lst``, ``.list``), ``.csv`` or ``.tsv`` file; a ``.tar`` or
            ``.parquet`` file, or a pattern of them; or what else :data:`SOURCES` knows.
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
        raise DataError(
            f"cannot read {data}: {error.strerror or error}", code="unreadable", file=data
        ) from None
    called = None if is_folder else _called(data)
    if called is None and "://" in data and not path.exists():
        raise _no_such_address(data)
    if called is None and options.label is not None:
        raise DataError(
            f"label= chooses among the labels of {_words_with_labels()}; name a column with "
            "label_columns=",
            arguments=["label", "label_columns"],
        )
    kind = called or (_held_by(path) if is_folder else _ending_in(path.suffix.lower()))
    if kind is not None:
        options.refuse_all_but(kind.options, kind.title)
        return kind.open(data, options)
    for other in SOURCES.values():
        if other.instead and (advice := other.instead(data)):
            raise DataError(advice)
    if is_folder:
        return open_class_folders(path, options)
    raise _nobody_takes(data, path)


def _called(data: str) -> SourceKind | None:
    """Return the kind of data that a word names.

    Raises:
        DataError: it names one that cannot be loaded.
    """
    for kind in SOURCES.values():
        if kind.is_called(data):
            return kind
    name = data.partition(":")[0]
    if name in SOURCES.broken and not Path(data).exists():
        raise DataError(f"the data source '{name}' cannot be loaded: {SOURCES.broken[name]}")
    return None


def _no_such_address(data: str) -> DataError:
    scheme = data.partition("://")[0]
    words = (word for kind in SOURCES.values() for word in kind.words)
    known = ", ".join(f"{word}//" for word in words if word.endswith(":"))
    return DataError(
        f"nothing is read from {printable(scheme)}://: give a path, or an address of {known}",
        file=data,
    )


def _words_with_labels() -> str:
    kinds = (kind for kind in SOURCES.values() if "label" in kind.options)
    return " or ".join(f"'{word}'" for kind in kinds for word in kind.words)


def _held_by(folder: Path) -> SourceKind | None:
    """Return the kind of data that a folder is, class folders aside.

    Raises:
        DataError: it cannot be read.
    """
    try:
        kinds = (kind for kind in SOURCES.values() if kind.holds and kind.holds(folder))
        return next(kinds, None)
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror or error}",
            code="unreadable",
            file=str(folder),
        ) from None


def _ending_in(suffix: str) -> SourceKind | None:
    return next((kind for kind in SOURCES.values() if suffix in kind.suffixes), None)


def _nobody_takes(data: str, path: Path) -> DataError:
    if not path.exists() and not is_pattern(data):
        FolderSource(path)  # raises the error that it does not exist
    *most, last = [suffix for kind in SOURCES.values() for suffix in kind.suffixes]
    broken = "".join(
        f"; the data source '{name}' cannot be loaded: {why}"
        for name, why in SOURCES.broken.items()
    )
    return DataError(
        f"{data} is not a folder, nor does its name end in {', '.join(most)} or {last}{broken}"
    )


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
