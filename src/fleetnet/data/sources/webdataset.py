"""WebDataset: images and labels inside tar files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import KnownClasses
from fleetnet.data.sources.lru_cache import LruCache, one
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.shard_manifest import index_beside
from fleetnet.data.sources.shards import Handle, but_test, choose, common_root, files_of, shards_in
from fleetnet.data.sources.split_names import with_test_if_it_fits
from fleetnet.data.sources.tar_columns import TarColumns
from fleetnet.data.sources.tar_index import index_shards
from fleetnet.data.sources.tar_source import TarSource, columns_of
from fleetnet.errors import ImageError
from fleetnet.labels import printable

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
CLASSES_FILE = "classes.txt"
OPEN_FILES = 64


class WebDatasetSource(TarSource):
    """Tar files of samples, indexed by their headers and read at any place.

    A sample is the members that share a key, the name up to the first dot after the last slash: one
    image, and a label in ``key.cls``, in ``key.json`` under ``label`` or in ``key.txt``. If every
    image of a key has a label of the same name up to the last dot (``img.v2.jpg`` and
    ``img.v2.cls``), each image is a sample with that label. Samples are numbered in the order of
    the files, so reading in order is sequential. Shards with train or val in their names are the
    splits of the data.

    Where ``shards.json`` beside the shards says that their index is there too, and no option says
    how labels are to be read, the index is mapped in place of reading the headers.

    Args:
        data: a file, a pattern (``{000..003}`` is expanded) or a folder.
        options: ``classes`` (``classes.txt`` beside the shards if None and there is one),
            ``label_columns`` (the key in the JSON), ``multi_label`` and ``label_separator`` (a
            comma if None).

    Raises:
        DataError: no shards; one is compressed, damaged, truncated or holds links; a key occurs
            twice; a sample has no label or a wrong one; or several keys are named.
    """

    OPTIONS = ("classes", "label_columns", "multi_label", "label_separator")

    def __init__(self, data: str, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        options.refuse_several_label_columns()
        found = files_of(data, SUFFIX)
        root = common_root(found)
        chosen = choose(found, root)
        (columns, splits), used, notes = with_test_if_it_fits(
            lambda files: _index(data, options, root, files), chosen, but_test(chosen)
        )
        super().__init__(
            columns,
            splits,
            LocalShards([file for file, _ in used]),
            description=(
                f"WebDataset {printable(Path(data).absolute().name)}, {count(len(used), 'shard')}"
            ),
            spec=options.spec(Path(data).absolute()),
            notes=notes,
        )


class LocalShards:
    """Reads shards of this machine.

    Args:
        files: by their numbers.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._handles: LruCache[Path, Handle] = LruCache(OPEN_FILES, one)

    def read_at(self, shard: int, offset: int, size: int) -> bytes:
        """Return bytes of a shard."""
        path = self._files[shard]
        try:
            return self._handles.get(path, lambda: Handle(path)).read_at(offset, size)
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from None

    def name(self, shard: int) -> str:
        """Return a shard's name."""
        return self._files[shard].name


def reads_labels_as_usual(options: SourceOptions) -> bool:
    """Tell whether no option changes what an index that lies beside the shards says of labels."""
    return options == SourceOptions()


def _index(
    data: str, options: SourceOptions, root: Path, chosen: list[tuple[Path, int]]
) -> tuple[TarColumns, npt.NDArray[np.int8]]:
    """Return what is in the shards, and the split of each."""
    files = [file for file, _ in chosen]
    names = [file.absolute().relative_to(root).as_posix() for file in files]
    splits = np.array([split for _, split in chosen], np.int8)
    if reads_labels_as_usual(options):
        indexed = index_beside(root, names, [file.stat().st_size for file in files])
        if indexed is not None:
            return indexed, splits
    beside = root / CLASSES_FILE
    known = KnownClasses.read(options.classes or (beside if beside.is_file() else None))
    shards = index_shards(files, options.label_column)
    places = [str(file) for file in files]
    return columns_of(shards, names, splits, known, options, data, places), splits


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
