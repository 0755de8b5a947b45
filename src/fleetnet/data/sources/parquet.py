"""Parquet files with images in them, as Hugging Face keeps image data sets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.sources import headings
from fleetnet.data.sources.features import Features, of_folder, of_schema
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import KnownClasses, LabelError, LabelReader, MultiLabel
from fleetnet.data.sources.lru_cache import LruCache, one
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.samples import SampleTable
from fleetnet.data.sources.shards import but_test, choose, common_root, files_of, shards_in
from fleetnet.data.sources.split_names import with_test_if_it_fits
from fleetnet.data.sources.watched import long_work
from fleetnet.data.sources.webdataset import CLASSES_FILE
from fleetnet.errors import DataError, ImageError, at, reason_of, require
from fleetnet.image_bytes import MAX_BYTES
from fleetnet.labels import printable
from fleetnet.text import first_few

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"
IMAGE = ("image", "img", "picture", "photo", "bytes", "image_bytes", "jpg", "png")
CLEAR = ("label", "labels", "class", "target")
"""Headings of labels that stand even where other columns have classes too."""
KEPT_BYTES = 256 * 2**20
"""Bytes of row groups that a process keeps, so that shuffling among a few reads each once."""
KEPT_METADATA = 16
MAX_GROUP = 2**30
"""Bytes of the images in a row group, which is read as a whole."""


class Columns(NamedTuple):
    """The columns to read from every file."""

    image: str
    label: str
    known: KnownClasses | None
    several: bool


class ParquetFile(NamedTuple):
    """What is in a file.

    Attributes:
        columns: to read.
        groups: how many rows each row group has.
        labels: of the rows.
        bytes: how many the file has.
    """

    columns: Columns
    groups: list[int]
    labels: list[object]
    bytes: int


class ParquetSource:
    """Parquet files with a column of encoded images and one of labels.

    The image column is a struct with ``bytes``, as Hugging Face writes, or plain binary; labels are
    integers (named by the schema's ``ClassLabel``), text, or lists of either for images with
    several. Files with train or val in their names are the splits of the data. Images are read one
    row group at a time; :attr:`shards` numbers the row groups.

    Args:
        data: a file, a pattern or a folder.
        options: ``classes`` (the schema's if None, or ``classes.txt`` beside the files),
            ``image_column``, ``label_columns`` (one), ``multi_label`` and ``label_separator`` (a
            comma if None).

    Raises:
        FleetnetError: the package pyarrow is not installed.
        DataError: no files, one is damaged or has other columns than the rest, a column is missing
            or has the wrong type, or a row group is too large to read.
    """

    OPTIONS: tuple[str, ...] = (
        "classes",
        "image_column",
        "label_columns",
        "multi_label",
        "label_separator",
    )

    def __init__(self, data: str, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        options.refuse_several_label_columns()
        found = files_of(data, SUFFIX)
        root = common_root(found)
        chosen = choose(found, root)
        _, _, self.notes = with_test_if_it_fits(
            lambda files: self._open(data, options, root, files), chosen, but_test(chosen)
        )
        self._recent = new_group_cache()
        # Reading the metadata of thousands of row groups takes as long as reading a row group.
        self._metadata: LruCache[Path, Any] = LruCache(KEPT_METADATA, one)

    def _open(
        self, data: str, options: SourceOptions, root: Path, chosen: list[tuple[Path, int]]
    ) -> None:
        """Read the labels of all files, and where their row groups begin."""
        self.description = (
            f"Parquet {printable(Path(data).absolute().name)}, {count(len(chosen), 'file')}"
        )
        self.spec = options.spec(Path(data).absolute())
        features = of_folder(root)
        columns = _columns(chosen[0][0], root, options, features)
        kind: MultiLabel | None = options.multi_label or ("names" if columns.several else None)
        self.multi_label = kind is not None
        reader = LabelReader(columns.known, kind, options.label_separator or ",")
        self._column = columns.image
        self._groups: list[tuple[Path, int]] = []
        names: list[str] = []
        counts: list[int] = []
        codes: list[int] = []
        advance = long_work("indexing files", len(chosen))
        for file, split in chosen:
            check_same_columns(
                [columns, _columns(file, root, options, features)], [chosen[0][0], file]
            )
            below = file.absolute().relative_to(root).as_posix()
            rows = _read_labels(file, columns.label, reader)
            groups = _group_rows(file, columns.image)
            advance(1)
            names += (f"{below}#{row}" for row in range(rows))
            codes += [split] * rows
            counts += groups
            self._groups += ((file, number) for number in range(len(groups)))
        self.shards = np.repeat(np.arange(len(counts)), counts)
        self._starts = np.cumsum([0, *counts])
        splits = np.array(codes, np.int8)
        try:
            self.classes, values, ends = reader.finish(splits)
        except DataError as error:
            raise at(data, error, DataError, file=data) from None
        self.samples = SampleTable(names, values, ends, splits)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        group = int(self.shards[index])
        column = self._recent.get(group, lambda: self._read_group(group))
        data = column[int(index - self._starts[group])].as_py()
        if not data:
            raise ImageError("the row has no bytes of an image in it", code="empty")
        if len(data) > MAX_BYTES:
            raise ImageError(f"the image is larger than {MAX_BYTES // 2**20} MiB", code="too-large")
        return bytes(data)

    def size(self, index: int) -> None:  # noqa: ARG002 - the protocol's
        """Return None: it is known only after reading the row group."""
        return

    def _read_group(self, group: int) -> pa.ChunkedArray:
        """Return the images of a row group, encoded."""
        file, number = self._groups[group]
        rows = int(self._starts[group + 1] - self._starts[group])
        try:
            metadata = self._metadata.get(file, lambda: _metadata(file))
            with file.open("rb") as stream:
                return read_group(stream, file.name, number, rows, lambda _: self._column, metadata)
        except OSError as error:
            raise ImageError(f"row group {number} of {file.name}: {_line(error)}") from None


def new_group_cache() -> LruCache[int, pa.ChunkedArray]:
    """Return a place for row groups that were read."""
    return LruCache(KEPT_BYTES, _weight)


def read_group(
    stream: BinaryIO,
    name: str,
    number: int,
    rows: int,
    leaf_of: Callable[[pa.Schema], str],
    metadata: Any = None,
) -> pa.ChunkedArray:
    """Return the images of a row group, encoded.

    Args:
        stream: the file.
        name: what messages call it.
        number: of the row group.
        rows: how many it had when the data was opened.
        leaf_of: returns the column to read of a schema.
        metadata: of the file, if it was read before.

    Raises:
        ImageError: it cannot be read, or has changed.
    """
    _, parquet = _pyarrow()
    failures: tuple[type[Exception], ...] = (*_failures(), DataError)
    try:
        with parquet.ParquetFile(stream, metadata=metadata) as opened:
            leaf = leaf_of(opened.schema_arrow)
            table = opened.read_row_group(number, columns=[leaf], use_threads=False)
            column = table.flatten().column(0)
    except failures as error:
        raise ImageError(f"row group {number} of {name}: {_line(error)}") from None
    if len(column) != rows:
        raise ImageError(f"row group {number} of {name} changed since it was opened")
    return column


def look_into(file: Path, options: SourceOptions, features: Features | None = None) -> ParquetFile:
    """Return what is in a file.

    Raises:
        DataError: it is damaged, or no columns fit.
    """
    columns = _columns(file, None, options, features)
    labels = list(_labels(file, columns.label))
    try:
        size = file.stat().st_size
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}", file=str(file)) from None
    return ParquetFile(columns, _group_rows(file, columns.image), labels, size)


def check_same_columns(columns: Sequence[Columns], files: Sequence[str | Path]) -> None:
    """Refuse files that do not fit each other.

    Raises:
        DataError: one has other columns or classes than the first.
    """
    for found, file in zip(columns, files, strict=True):
        if found != columns[0]:
            raise DataError(f"{file} has other columns or classes than {files[0]}", file=str(file))


def _weight(column: pa.ChunkedArray) -> int:
    return int(column.nbytes)


def _columns(
    file: Path, root: Path | None, options: SourceOptions, features: Features | None
) -> Columns:
    """Find the columns of a file, and its classes.

    Raises:
        DataError: it is no Parquet file, or no columns fit.
    """
    try:
        with _opened(file) as opened:
            schema = opened.schema_arrow
    except _failures() as error:
        raise DataError(
            f"{file} is no Parquet file, or is damaged: {_line(error)}", file=str(file)
        ) from None
    features = of_schema(schema.metadata) or features or Features()
    try:
        leaf = image_leaf(schema, options.image_column, features)
        label = _label_column(schema.names, options, features)
        several = _is_list(schema.field(label).type)
    except DataError as error:
        raise at(str(file), error, DataError, file=str(file)) from None
    names = features.labels.get(label)
    beside = None if root is None else root / CLASSES_FILE
    known = (
        KnownClasses.read(options.classes)
        or (KnownClasses(names, "the schema") if names else None)
        or KnownClasses.read(beside if beside is not None and beside.is_file() else None)
    )
    return Columns(leaf, label, known, several)


def image_leaf(schema: pa.Schema, wanted: str | None, features: Features | None = None) -> str:
    """Return the column to read for the images.

    Args:
        schema: of the file.
        wanted: the column, if it was named.
        features: what is known of the columns; what the schema says if None.

    Raises:
        DataError: there is none, or several may be it.
    """
    names = schema.names
    features = features or of_schema(schema.metadata) or Features()
    image = headings.find_column(wanted, IMAGE, names, "image")
    if image is None:
        image = _only(features.images, names, "images", "image_column")
    if image is None:
        fitting = [name for name in names if _holds_images(schema.field(name).type)]
        image = fitting[0] if len(fitting) == 1 else None
    image = headings.column(image, IMAGE, names, "image", "image_column")
    return _leaf(image, schema.field(image).type)


def _label_column(names: Sequence[str], options: SourceOptions, features: Features) -> str:
    """Return the column with the labels.

    Raises:
        DataError: there is none, or several may be it.
    """
    wanted = options.label_column
    usual = headings.find_column(wanted, headings.LABEL, names, "label")
    if wanted is None and (usual is None or usual not in CLEAR) and features.labels:
        usual = _only(tuple(features.labels), names, "labels", "label_columns") or usual
    return headings.column(usual, headings.LABEL, names, "label", "label_columns")


def _only(columns: Sequence[str], names: Sequence[str], what: str, argument: str) -> str | None:
    """Return the only one of the columns that the file has; None if it has none.

    Raises:
        DataError: it has several.
    """
    there = [column for column in columns if column in names]
    if len(there) > 1:
        listed = first_few([f"'{column[:40]}'" for column in there], 12)
        raise DataError(
            f"{len(there)} columns have {what}: {listed}: name one with {argument}=",
            arguments=[argument],
            known=there,
        )
    return there[0] if there else None


def stored_images(file: Path) -> Iterator[bytes | None]:
    """Yield the encoded images of a file without looking for labels, a row group at a time.

    Raises:
        DataError: it is no Parquet file, is damaged, has no column of images, or a row group is
            too large to read.
        FileNotFoundError: it is not there.
    """
    try:
        with _opened(file) as opened:
            leaf = image_leaf(opened.schema_arrow, None)
            for number in range(len(_group_rows(file, leaf))):
                table = opened.read_row_group(number, columns=[leaf], use_threads=False)
                for value in table.flatten().column(0):
                    yield value.as_py()
    except FileNotFoundError:
        raise  # of a cache that others use too: whoever asks may fetch it again
    except _failures() as error:
        raise DataError(
            f"{file} is no Parquet file, or is damaged: {_line(error)}", file=str(file)
        ) from None


def _holds_images(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_images(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _leaf(name: str, kind: pa.DataType) -> str:
    """Return the column to read for the images, which holds only their bytes.

    Raises:
        DataError: it has none.
    """
    import pyarrow as pa

    if not _holds_images(kind):
        raise DataError(
            f"column '{name}' is {str(kind)[:60]}: images must be binary, or a struct with 'bytes'"
        )
    return f"{name}.bytes" if pa.types.is_struct(kind) else name


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _read_labels(file: Path, column: str, reader: LabelReader) -> int:
    """Add a file's labels to the reader and return how many rows it has."""
    row = -1
    try:
        for value in _labels(file, column):
            row += 1
            reader.add_value(value)
    except LabelError as error:
        place = f"{file}, row {row}"
        raise at(place, error, DataError, file=str(file), row=row) from None
    return row + 1


def _labels(file: Path, column: str) -> Iterator[object]:
    """Yield the labels of a file's rows.

    Raises:
        DataError: it is damaged.
    """
    try:
        with _opened(file) as opened:
            for batch in opened.iter_batches(65_536, columns=[column], use_threads=False):
                yield from batch.column(0).to_pylist()
    except _failures() as error:
        raise DataError(f"{file} is damaged: {_line(error)}", file=str(file)) from None


def _group_rows(file: Path, column: str) -> list[int]:
    """Return how many rows each row group of a file has.

    Raises:
        DataError: its images take too much memory to be read at once, or it is damaged.
    """
    try:
        return _rows_by_group(file, column)
    except _failures() as error:
        raise DataError(f"{file} is damaged: {_line(error)}", file=str(file)) from None


def _rows_by_group(file: Path, column: str) -> list[int]:
    metadata = _metadata(file)
    rows = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        size = sum(
            chunk.total_uncompressed_size
            for chunk in map(group.column, range(group.num_columns))
            if chunk.path_in_schema == column
        )
        if size > MAX_GROUP:
            raise DataError(
                f"{file}: row group {number} has {size / 2**30:.1f} GiB of images, more than is "
                "read at once: write the file again with about 100 rows per group",
                file=str(file),
            )
        rows.append(group.num_rows)
    return rows


def _metadata(file: Path) -> Any:
    with _opened(file) as opened:
        return opened.metadata


@contextlib.contextmanager
def _opened(file: Path, metadata: Any = None) -> Iterator[Any]:
    """Open a file with Python, because Arrow refuses paths that are not UTF-8."""
    _, parquet = _pyarrow()
    with file.open("rb") as stream, parquet.ParquetFile(stream, metadata=metadata) as opened:
        yield opened


def _failures() -> tuple[type[Exception], ...]:
    """Return the errors with which Arrow meets a file that is damaged, or too large."""
    pyarrow, _ = _pyarrow()
    return pyarrow.ArrowException, OSError, MemoryError, UnicodeDecodeError


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise require("pyarrow", "parquet", "reading Parquet files") from None
    return pa, pyarrow.parquet


def _line(error: BaseException) -> str:
    return reason_of(error)[:200]


SOURCE = SourceKind(
    name="parquet",
    title="Parquet files",
    open=ParquetSource,
    options=ParquetSource.OPTIONS,
    suffixes=(SUFFIX,),
    holds=lambda folder: bool(shards_in(folder, SUFFIX)),
    rank=40,
)
