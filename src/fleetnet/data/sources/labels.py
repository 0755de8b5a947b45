"""Labels as people write them, converted to indices of classes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.data.sources.samples import TEST, VAL
from fleetnet.errors import DataError, nearest
from fleetnet.labels import read_names

MultiLabel = Literal["names", "one-hot"]
"""How several labels of an image are written: the labels themselves, or a 0 or 1 for each class."""

_DIGITS = 18
"""Of the longest number; text with more digits is a name."""
_BITS = {"0": False, "1": True, "0.0": False, "1.0": True}


class LabelError(DataError):
    """A label cannot be understood; the code that reads the file adds where it is."""


class KnownClasses(NamedTuple):
    """Names of classes in the order of their ids, and the file that lists them."""

    names: tuple[str, ...]
    origin: str

    @classmethod
    def read(cls, path: str | Path | None) -> KnownClasses | None:
        """Read a file of names, if there is one to read.

        Raises:
            DataError: it cannot be read or names nothing.
        """
        return None if path is None else cls(read_names(path), Path(path).name)


class UniqueNames:
    """The names of samples, in order, none twice."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._seen: set[str] = set()

    def add(self, name: str) -> None:
        """Add the next name.

        Raises:
            LabelError: it was added before, or is no name.
        """
        if not name or "\0" in name:
            raise LabelError("there is no path in it")
        if name in self._seen:
            raise LabelError(f"'{name}' is listed a second time")
        self._seen.add(name)
        self.names.append(name)


class Labels(NamedTuple):
    """The labels of all samples, as :class:`fleetnet.data.sources.samples.SampleTable` has them."""

    classes: tuple[str, ...]
    values: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]


class LabelReader:
    """Collects the labels of one sample after another.

    A text is a number only if writing the number gives the same text: ``7`` is a number, ``007``
    and ``7.0`` are names. Where the classes are known, a label is one of their names, or an id
    counted from 0 unless names are written in digits themselves. Where they are not known, each
    text that occurs is a class, as each folder would be: sorted as numbers if all of them are
    numbers, else as text.

    Args:
        known: the classes, if a file or a schema names them.
        multi_label: whether and how several labels of an image are written.
        separator: between several labels.
    """

    def __init__(
        self, known: KnownClasses | None, multi_label: MultiLabel | None, separator: str = ","
    ) -> None:
        self._known = known
        self._multi_label = multi_label
        self._separator = separator
        self._codes: dict[str | int, int] = {}
        self._occurring: dict[str, int] = {}
        self._values = array("i")
        self._ends = array("q")
        self._width = 0
        names = known.names if known else ()
        self._by_name = {name: index for index, name in enumerate(names)}
        self._names_are_digits = any(map(_is_digits, names))

    def add(self, label: str) -> None:
        """Add the label or labels of the next sample, as text.

        Raises:
            LabelError: it is not a label, or not one of the classes that are known.
        """
        if self._multi_label is None:
            code = self._codes.get(label)
            self._values.append(self._code(label) if code is None else code)
            self._ends.append(len(self._values))
        else:
            parts = label.split(self._separator) if label.strip() else []
            self.add_several([part.strip() for part in parts])

    def add_several(self, labels: Sequence[str | int]) -> None:
        """Add the labels of the next sample, or its 0 or 1 for every class.

        Raises:
            LabelError: as :meth:`add`, or images are not to have several labels.
        """
        if self._multi_label is None:
            raise LabelError(
                "has several labels: say how they are written with multi_label=",
                arguments=["multi_label"],
            )
        if self.one_hot:
            codes = self._of_bits(labels)
        else:
            codes = sorted({self._code(label) for label in labels})
        self._values.extend(codes)
        self._ends.append(len(self._values))

    def add_value(self, value: object) -> None:
        """Add the label or labels of the next sample from JSON or a column with types.

        Raises:
            LabelError: as :meth:`add`, or its type is not one of a label.
        """
        if isinstance(value, str):
            self.add(value)
        elif isinstance(value, list) and all(_is_label(item) for item in value):
            self.add_several(value)
        elif not _is_label(value):
            raise LabelError(
                f"label {str(value)[:60]!r} is neither a whole number nor a name{_advice(value)}"
            )
        elif self._multi_label is None:
            self._values.append(self._code(value))  # type: ignore[arg-type] # _is_label says so
            self._ends.append(len(self._values))
        else:
            self.add_several([value])  # type: ignore[list-item]

    @property
    def one_hot(self) -> bool:
        """Whether labels come as a 0 or 1 for every class."""
        return self._multi_label == "one-hot"

    def finish(
        self, splits: npt.NDArray[np.int8], used: npt.NDArray[np.bool_] | None = None
    ) -> Labels:
        """Return the classes and the labels of the samples that are used.

        Args:
            splits: ``int8[N]``, the samples' splits.
            used: ``bool[N]``, which samples are used; all if None.

        Raises:
            DataError: there are no labels, or a class that only a held-out split has.
        """
        values = np.array(self._values, np.int32)
        ends = np.array(self._ends, np.int64)
        lengths = ends - np.concatenate([[0], ends[:-1]])
        if used is not None:
            values, lengths, splits = values[np.repeat(used, lengths)], lengths[used], splits[used]
            ends = np.cumsum(lengths)
        if self._known or self.one_hot:
            names = self._known.names if self._known else tuple(map(str, range(self._width)))
            _check_classes(names)
            return Labels(names, values, ends)
        present = set(np.unique(values).tolist())
        keys = _sorted([key for key, code in self._occurring.items() if code in present])
        rank = np.zeros(len(self._occurring), np.int32)
        rank[[self._occurring[key] for key in keys]] = np.arange(len(keys))
        values = rank[values]
        values = values[np.lexsort((values, np.repeat(np.arange(len(lengths)), lengths)))]
        labels = Labels(tuple(keys), values, ends)
        _check_classes(labels.classes)
        _check_validation(labels, np.repeat(splits, lengths))
        return labels

    def _of_bits(self, cells: Sequence[str | int]) -> list[int]:
        width = len(self._known.names) if self._known else self._width
        if width and len(cells) != width:
            raise LabelError(f"has {len(cells)} zeros and ones for {width} classes")
        self._width = len(cells)
        try:
            return [index for index, cell in enumerate(cells) if _BITS[str(cell)]]
        except KeyError as error:
            raise LabelError(f"{str(error.args[0])[:60]!r} is neither 0 nor 1") from None

    def _code(self, label: str | int) -> int:
        code = self._codes.get(label)
        if code is None:
            code = self._index(label, self._known) if self._known else self._first_seen(label)
            self._codes[label] = code
        return code

    def _index(self, label: str | int, known: KnownClasses) -> int:
        """Return the index of a label among the known classes."""
        if isinstance(label, str):
            if label in self._by_name:
                if known.names.count(label) > 1:
                    raise LabelError(f"'{label}' names several classes of {known.origin}")
                return self._by_name[label]
            number = None if self._names_are_digits else as_number(label)
        else:
            number = label
        if number is None:
            raise LabelError(
                f"label '{label}' is not among the classes of {known.origin}"
                f"{nearest(str(label), self._by_name)}{self._as_id_would_be(str(label))}",
                label=label,
                classes_from=known.origin,
            )
        if not 0 <= number < len(known.names):
            raise LabelError(
                f"label {number} is beyond the {count(len(known.names), 'class')} of "
                f"{known.origin}: ids count from 0",
                label=number,
                classes=len(known.names),
                classes_from=known.origin,
            )
        return number

    def _as_id_would_be(self, label: str) -> str:
        """Return a hint for a label that looks like an id but is not written as one."""
        digits, _, fraction = label.partition(".")
        meant = int(digits) if _is_digits(digits) and not fraction.strip("0") else None
        if meant is None or self._names_are_digits:
            return ""
        return f", nor is it an id, which would be '{meant}'"

    def _first_seen(self, label: str | int) -> int:
        """Return the number of a label where the classes are not known."""
        key = str(label)
        number = as_number(key)
        if key == "":
            raise LabelError("has no label")
        if number is not None and number < 0:
            raise LabelError(f"label {number} is below 0: ids count from 0", label=number)
        if self._multi_label is None and number is None and _looks_like_several(key):
            raise LabelError(
                f"label '{key[:60]}' looks like several: say how they are written with "
                "multi_label='names' or multi_label='one-hot'",
                arguments=["multi_label"],
                label=key,
            )
        return self._occurring.setdefault(key, len(self._occurring))


def as_number(text: str) -> int | None:
    """Return the whole number that a text is; None if writing the number gives another text."""
    number = int(text) if _is_digits(text.removeprefix("-")) else None
    return number if str(number) == text else None


def _is_digits(text: str) -> bool:
    """Tell whether a text is only digits, of a number that a column of integers could hold."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def _sorted(labels: Sequence[str]) -> list[str]:
    """Return labels in the order of classes."""
    numbers = all(as_number(label) is not None for label in labels)
    return sorted(labels, key=int) if numbers else sorted(labels)


def _is_label(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _looks_like_several(label: str) -> bool:
    parts = label.replace("|", ",").replace(";", ",").split(",")
    return len(parts) > 1 and all(_is_digits(part.strip().removeprefix("-")) for part in parts)


def _advice(value: object) -> str:
    if value is None or value != value:
        return ": it is missing"
    if isinstance(value, float) and value.is_integer():
        return ": write the labels as whole numbers (in pandas, astype('Int64'))"
    return ""


def _check_classes(names: tuple[str, ...]) -> None:
    if not names:
        raise DataError("no labels: there must be at least one labelled image")


def _check_validation(labels: Labels, splits: npt.NDArray[np.int8]) -> None:
    """Refuse a class that a held-out split has but training has not, which may be a typo."""
    is_held_out = (splits == VAL) | (splits == TEST)
    trained = set(labels.values[~is_held_out].tolist())
    for label in sorted(set(labels.values[is_held_out].tolist()) - trained):
        raise DataError(
            f"class '{labels.classes[label]}' has no counterpart among the training classes"
            f"{nearest(labels.classes[label], [labels.classes[index] for index in trained])}"
        )
