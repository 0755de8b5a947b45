"""WebDataset: images and labels inside tar files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import KnownClasses, LabelError, LabelReader
from fleetnet.data.sources.lru_cache import LruCache, one
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.samples import SampleTable
from fleetnet.data.sources.shards import Handle, but_test, choose, common_root, files_of, shards_in
from fleetnet.data.sources.split_names import with_test_if_it_fits
from fleetnet.data.sources.tar_index import index_shards
from fleetnet.errors import DataError, ImageError, at
from fleetnet.image_bytes import MAX_BYTES
from fleetnet.labels import printable

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
CLASSES_FILE = "classes.txt"
OPEN_FILES = 64


class WebDatasetSource:
    """Tar files of samples, indexed by their headers and read at any place.

    A sample is the members that share a key, the name up to the first dot after the last slash: one
    image, and a label in ``key.cls``, in ``key.json`` under ``label`` or in ``key.txt``. If every
    image of a key has a label of the same name up to the last dot (``img.v2.jpg`` and
    ``img.v2.cls``), each image is a sample with that label. Samples are numbered in the order of
    the files, so reading in order is sequential. Shards with train or val in their names are the
    splits of the data.

    Args:
        data: a file, a pattern (``{000..003}`` is expanded) or a folder.
        options: ``classes`` (``classes.txt`` beside the shards if None and there is one),
            ``label_columns`` (the key in the JSON), ``multi_label`` and ``label_separator`` (a
            comma if None).

    Raises:
        DataError: no shards; one is compressed, damaged, truncated or holds links; a key occurs
            twice; a sample has no label or a wrong one.
    """

    OPTIONS = ("classes", "label_columns", "multi_label", "label_separator")

    def __init__(self, data: str, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        if len(options.label_columns) > 1:
            raise DataError(
                "a WebDataset has its label under one key: give one in label_columns=",
                arguments=["label_columns"],
            )
        found = files_of(data, SUFFIX)
        root = common_root(found)
        chosen = choose(found, root)
        _, _, self.notes = with_test_if_it_fits(
            lambda files: self._open(data, options, root, files), chosen, but_test(chosen)
        )
        self._handles: LruCache[Path, Handle] = LruCache(OPEN_FILES, one)

    def _open(
        self, data: str, options: SourceOptions, root: Path, chosen: list[tuple[Path, int]]
    ) -> None:
        """Index the shards."""
        self._files = [file for file, _ in chosen]
        self.description = (
            f"WebDataset {printable(Path(data).absolute().name)}, {count(len(chosen), 'shard')}"
        )
        self.spec = options.spec(Path(data).absolute())
        self.multi_label = options.multi_label is not None
        beside = root / CLASSES_FILE
        known = KnownClasses.read(options.classes or (beside if beside.is_file() else None))
        reader = LabelReader(known, options.multi_label, options.label_separator or ",")
        key = options.label_columns[0] if options.label_columns else None
        shards = index_shards(self._files, key)
        names: list[str] = []
        for file, shard in zip(self._files, shards, strict=True):
            below = file.absolute().relative_to(root).as_posix()
            for name, label in zip(shard.names, shard.labels, strict=True):
                names.append(f"{below}/{name}")
                try:
                    reader.add_value(label)
                except LabelError as error:
                    place = f"{file}: {name}"
                    raise at(place, error, DataError, file=str(file), member=name) from None
        counts = [len(shard.names) for shard in shards]
        self.shards = np.repeat(np.arange(len(shards)), counts)
        self._offsets = np.array([n for shard in shards for n in shard.offsets], np.int64)
        self._sizes = np.array([n for shard in shards for n in shard.sizes], np.int64)
        splits = np.repeat(np.array([split for _, split in chosen], np.int8), counts)
        try:
            self.classes, values, ends = reader.finish(splits)
        except DataError as error:
            raise at(data, error, DataError, file=data) from None
        self.samples = SampleTable(names, values, ends, splits)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        size = int(self._sizes[index])
        if not size:
            raise ImageError("the file is empty", code="empty")
        if size > MAX_BYTES:
            raise ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB", code="too-large")
        return self._read_at(index, int(self._offsets[index]), size)

    def size(self, index: int) -> int:
        """Return the image's size, as the tar says."""
        return int(self._sizes[index])

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` bytes of the image."""
        size = int(self._sizes[index])
        count = min(count, size)
        return self._read_at(index, int(self._offsets[index]) + size - count, count)

    def _read_at(self, index: int, offset: int, size: int) -> bytes:
        path = self._files[self.shards[index]]
        try:
            data = self._handles.get(path, lambda: Handle(path)).read_at(offset, size)
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from None
        if len(data) < size:
            raise ImageError(f"{path.name} is shorter than it was", code="truncated")
        return data


def _decompress(data: str) -> str | None:
    """Return what to do with compressed shards."""
    if (folder := Path(data)).is_dir():
        suffix = next((suffix for suffix in COMPRESSED if shards_in(folder, suffix)), None)
        what = f"{folder} has shards that are compressed ({suffix}): decompress them to .tar"
    else:
        suffix = next((suffix for suffix in COMPRESSED if data.lower().endswith(suffix)), None)
        what = f"{data} is compressed: decompress it to .tar"
    return f"{what}, since images inside could not be read one at a time" if suffix else None


SOURCE = SourceKind(
    name="tar",
    title="tar files",
    open=WebDatasetSource,
    options=WebDatasetSource.OPTIONS,
    suffixes=(SUFFIX,),
    holds=lambda folder: bool(shards_in(folder, SUFFIX)),
    instead=_decompress,
    rank=30,
)
