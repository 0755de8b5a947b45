"""Labelled images, and after them images that a teacher labelled: what ``fleetnet distill`` makes.

The folder has ``pool.json``, which says where the labelled images are and how they were split, and
``chosen.tsv`` with a line for each image that was added: the class that the teacher thinks it is,
and its path.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.files import ImageFiles
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.protocol import ReadsEnds, Source, fingerprint
from fleetnet.data.sources.samples import SPLITS, TRAIN, Indices, SampleTable
from fleetnet.errors import DataError
from fleetnet.files import atomic_file

POOL, CHOSEN = "pool.json", "chosen.tsv"
FORMAT = 1
_TOGETHER = 256
"""Loose images that are read one after the other, where the labelled ones lie in shards."""


class LooseImages(ImageFiles):
    """Image files from anywhere, each with a class that somebody guessed.

    Args:
        paths: of the files, absolute.
        labels: ``int[N]``, the guesses; None for none yet.
        classes: names of the classes.
    """

    multi_label = False
    root = Path()

    def __init__(
        self, paths: Sequence[str], classes: tuple[str, ...], labels: Indices | None = None
    ) -> None:
        self.classes = classes
        self.description = "unlabelled images"
        self.spec: dict[str, str] = {}
        guesses = np.zeros(len(paths), np.intp) if labels is None else labels
        self.samples = SampleTable(paths, guesses)


class PoolSource:
    """The labelled images of a source, split for good, and those that were added to train on.

    Attributes:
        labelled: how many images, the first ones, have labels of their own.

    Raises:
        DataError: the folder is damaged, or the labelled images are no longer the same.
    """

    multi_label = False

    def __init__(self, folder: Path) -> None:
        content = _read(folder / POOL)
        self.spec = {"data": str(folder.resolve())}
        # Here, because that module knows all kinds of sources, this one too.
        from fleetnet.data.sources.open import open_source_spec

        self._own = open_source_spec(content["source"])
        splits = np.array(content["splits"], np.int8)
        if fingerprint(self._own) != content["fingerprint"] or len(splits) != len(
            self._own.samples
        ):
            raise DataError(
                f"{self._own.description} is no longer what {folder} was made of: make it anew",
                file=str(folder),
            )
        self.classes = self._own.classes
        self._added = _added(folder / CHOSEN, self.classes)
        own, added = SampleTable.of(self._own.samples), self._added.samples
        self.labelled = len(own)
        self.description = f"{self._own.description} and {len(added):,} unlabelled images"
        self.samples = SampleTable(
            [sample.name for sample in own] + [sample.name for sample in added],
            np.concatenate([own.values, added.values]),
            splits=np.concatenate([splits, np.full(len(added), TRAIN, np.int8)]),
        )
        self.shards = _shards(self._own.shards, len(added))

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        source, place = self._place(index)
        return source.read(place)

    def size(self, index: int) -> int | None:
        """Return how many bytes that would be, if it is known."""
        source, place = self._place(index)
        return source.size(place)

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` bytes of an image."""
        source, place = self._place(index)
        if isinstance(source, ReadsEnds):
            return source.read_end(place, count)
        return source.read(place)[-count:]

    def _place(self, index: int) -> tuple[Source, int]:
        if index < self.labelled:
            return self._own, index
        return self._added, index - self.labelled


def write_pool(
    folder: Path,
    source: Source,
    splits: npt.NDArray[np.int8],
    paths: Sequence[str],
    labels: Indices,
) -> None:
    """Write a pool's folder, which :class:`PoolSource` opens.

    Args:
        folder: to write to.
        source: the labelled images, each with one class.
        splits: ``int8[N]``, for each the code of its split.
        paths: of the images to add, absolute; none has a tab or the end of a line in it.
        labels: ``int[M]``, the class of each as the teacher sees it.
    """
    lines = (
        f"{source.classes[label]}\t{path}\n"
        for path, label in zip(paths, labels.tolist(), strict=True)
    )
    with atomic_file(folder / CHOSEN) as file:
        file.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
    content = {
        "format": FORMAT,
        "source": source.spec,
        "fingerprint": fingerprint(source),
        "splits": splits.tolist(),
    }
    with atomic_file(folder / POOL) as file:
        file.write_text(json.dumps(content) + "\n", "utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise DataError(f"{path} is of another version of fleetnet: make it anew")
        source, codes = dict(content["source"]), [int(code) for code in content["splits"]]
        found = {
            "source": {str(key): str(value) for key, value in source.items()},
            "splits": [SPLITS.index(SPLITS[code]) for code in codes],
            "fingerprint": str(content["fingerprint"]),
        }
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", file=str(path)) from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise DataError(f"{path} is damaged: make it anew", file=str(path)) from None
    return found


def _added(path: Path, classes: tuple[str, ...]) -> LooseImages:
    places = {name: place for place, name in enumerate(classes)}
    paths: list[str] = []
    labels: list[int] = []
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", file=str(path)) from None
    for number, line in enumerate(text.split("\n")[:-1], 1):
        name, tab, file = line.partition("\t")
        if not tab or name not in places:
            raise DataError(f"{path}, line {number}: no class of the data and a path")
        labels.append(places[name])
        paths.append(file)
    return LooseImages(paths, classes, np.array(labels, np.intp))


def _shards(own: Indices | None, added: int) -> Indices | None:
    if own is None:
        return None
    first = int(own.max(initial=-1)) + 1
    return np.concatenate([own, first + np.arange(added) // _TOGETHER])


SOURCE = SourceKind(
    name="pool",
    title="pools of 'fleetnet distill'",
    open=lambda data, _: PoolSource(Path(data)),
    holds=lambda folder: (folder / POOL).is_file(),
    rank=5,
)
