"""A labelled image, and a table of a million of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

SplitName = Literal["train", "val", "test"]
Indices = npt.NDArray[np.intp]

SPLITS: tuple[SplitName | None, ...] = (None, "train", "val", "test")
"""A split's code in :attr:`SampleTable.splits` is its index here."""
NO_SPLIT, TRAIN, VAL, TEST = range(4)
_STRETCH = 4096


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes:
        name: for people: its path below the source's root, with forward slashes.
        labels: indices into the source's ``classes``; one, or any number for multi-label data.
        split: the split that the source itself assigns it to, if it does; the ``test`` split is
            neither trained on nor used for validation.
    """

    name: str
    labels: tuple[int, ...]
    split: SplitName | None = None

    @property
    def label(self) -> int:
        """The class of a sample that has exactly one."""
        (label,) = self.labels
        return label


class SampleTable(Sequence[Sample]):
    """Samples kept as columns, each made into a :class:`Sample` when asked for.

    A million samples take a tenth of the memory that as many objects would, and reach a worker
    process in milliseconds.

    Args:
        names: one for each sample.
        labels: ``int[M]``, the labels of all samples one after another.
        ends: ``int[N]``, where each sample's labels end among ``labels``; None if each has one.
        splits: ``int[N]``, codes of :data:`SPLITS`; None if no sample has a split.
    """

    def __init__(
        self,
        names: Iterable[str],
        labels: npt.ArrayLike,
        ends: npt.ArrayLike | None = None,
        splits: npt.ArrayLike | None = None,
    ) -> None:
        joined, self._name_ends = join_names(names)
        count = len(self._name_ends)
        self._names: bytes | memoryview = joined
        self.values = np.asarray(labels, np.int32)
        """``int32[M]``: the labels of all samples, one after another."""
        self.ends = np.arange(1, count + 1) if ends is None else np.asarray(ends, np.int64)
        """``int64[N]``: where each sample's labels end among :attr:`values`."""
        self.splits = np.zeros(count, np.int8) if splits is None else np.asarray(splits, np.int8)
        """``int8[N]``: each sample's split as a code of :data:`SPLITS`."""
        if not len(self.ends) == len(self.splits) == count:
            raise ValueError("names, labels and splits are of different lengths")

    @classmethod
    def mapped(
        cls,
        names: npt.NDArray[np.uint8],
        name_ends: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int32],
        ends: npt.NDArray[np.int64],
        splits: npt.NDArray[np.int8],
    ) -> SampleTable:
        """Return a table of columns that may lie in a file that is mapped; nothing is copied.

        Args:
            names: ``uint8[M]``, one after another, in UTF-8.
            name_ends: ``int64[N]``, where each ends.
            labels: as in the class.
            ends: likewise.
            splits: likewise.
        """
        table = cls.__new__(cls)
        table._names, table._name_ends = names.data, name_ends
        table.values, table.ends, table.splits = labels, ends, splits
        return table

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SampleTable:
        """Return any samples as a table."""
        if isinstance(samples, cls):
            return samples
        return cls(
            (sample.name for sample in samples),
            [label for sample in samples for label in sample.labels],
            np.cumsum([len(sample.labels) for sample in samples], dtype=np.int64),
            [SPLITS.index(sample.split) for sample in samples],
        )

    def name(self, index: int) -> str:
        """Return a sample's name."""
        start = self._name_ends[index - 1] if index else 0
        return str(self._names[start : self._name_ends[index]], "utf-8", "surrogatepass")

    def labels_of(self, index: int) -> tuple[int, ...]:
        """Return a sample's labels."""
        start = self.ends[index - 1] if index else 0
        return tuple(self.values[start : self.ends[index]].tolist())

    def lines(self, classes: Sequence[str], but: int) -> Iterator[bytes]:
        """Yield a line a sample, a stretch of lines at a time, in UTF-8.

        A line has the names of the sample's classes and its own, with zero bytes between them.

        Args:
            classes: their names.
            but: code of the split whose samples have no line.
        """
        begins = [name.encode("utf-8", "surrogatepass") + b"\0" for name in classes]
        name_start = label_start = 0
        for first in range(0, len(self), _STRETCH):
            stretch = slice(first, first + _STRETCH)
            name_ends, ends = self._name_ends[stretch], self.ends[stretch]
            names = bytes(self._names[name_start : int(name_ends[-1])])
            values = self.values[label_start : int(ends[-1])].tolist()
            at_name = [0, *(name_ends - name_start).tolist()]
            at_label = [0, *(ends - label_start).tolist()]
            if (
                len(values) == len(ends)
                and (self.splits[stretch] != but).all()
                and (np.diff(ends, prepend=label_start) == 1).all()
            ):  # as a million images mostly are, and three times as fast
                parts = [
                    begins[label] + names[start:end]
                    for label, start, end in zip(values, at_name[:-1], at_name[1:], strict=True)
                ]
            else:
                parts = [
                    b"".join(begins[label] for label in values[at_label[n] : at_label[n + 1]])
                    + names[at_name[n] : at_name[n + 1]]
                    for n in np.flatnonzero(self.splits[stretch] != but).tolist()
                ]
            if parts:
                yield b"\n".join(parts) + b"\n"
            name_start, label_start = int(name_ends[-1]), int(ends[-1])

    def take(self, indices: Indices) -> SampleTable:
        """Return a table of the samples ``indices``, in that order."""
        count = len(indices)
        if count and indices[0] == 0 and indices[-1] == count - 1 and (np.diff(indices) == 1).all():
            return self._first(count)
        labels = [self.labels_of(int(index)) for index in indices]
        return SampleTable(
            (self.name(int(index)) for index in indices),
            [label for row in labels for label in row],
            np.cumsum([len(row) for row in labels], dtype=np.int64),
            self.splits[indices],
        )

    def _first(self, count: int) -> SampleTable:
        """Return a table of the first samples, for which nothing is copied."""
        table = SampleTable.__new__(SampleTable)
        table._names, table._name_ends = self._names, self._name_ends[:count]
        table.values = self.values[: int(self.ends[count - 1])]
        table.ends, table.splits = self.ends[:count], self.splits[:count]
        return table

    def label_counts(self, indices: Indices, classes: int) -> Indices:
        """Return how many of the samples ``indices`` have each of so many classes."""
        chosen = np.zeros(len(self), bool)
        chosen[indices] = True
        of_value = np.repeat(chosen, np.diff(self.ends, prepend=0))
        return np.bincount(self.values[of_value], minlength=classes)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= number < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return Sample(self.name(number), self.labels_of(number), SPLITS[self.splits[number]])

    def __iter__(self) -> Iterator[Sample]:
        # Plain integers from a stretch of each column at a time: three times as fast as by index.
        name_start = label_start = 0
        for first in range(0, len(self), _STRETCH):
            stretch = slice(first, first + _STRETCH)
            for name_end, label_end, split in zip(
                self._name_ends[stretch].tolist(),
                self.ends[stretch].tolist(),
                self.splits[stretch].tolist(),
                strict=True,
            ):
                name = str(self._names[name_start:name_end], "utf-8", "surrogatepass")
                labels = tuple(self.values[label_start:label_end].tolist())
                yield Sample(name, labels, SPLITS[split])
                name_start, label_start = name_end, label_end


def join_names(names: Iterable[str]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return names one after another in UTF-8, and where each ends."""
    encoded = [name.encode("utf-8", "surrogatepass") for name in names]
    return b"".join(encoded), np.cumsum([len(name) for name in encoded], dtype=np.int64)
