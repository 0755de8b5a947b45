"""Rows that take long to compute, kept as they are made, so that a second start goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.files import atomic_file

ROWS = 1024
"""Rows of a file."""
_KEY = "of.txt"


class StoredRows:
    """An array of which each row belongs to an image, in files of :data:`ROWS` rows.

    Args:
        folder: of the files; those of another key are removed when the first new one is written.
        key: changes with whatever the rows depend on.
        rows: how many there are in all.
        dtype: of the array.
        shape: of a row.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        rows: int,
        dtype: npt.DTypeLike,
        shape: tuple[int, ...] = (),
        *,
        rows_a_file: int = ROWS,
    ) -> None:
        self.folder = folder
        self.key = key
        self.rows = rows
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.rows_a_file = rows_a_file

    @property
    def done(self) -> int:
        """How many rows, the first ones, are stored."""
        if not self._is_ours():
            return 0
        number = 0
        while number * self.rows_a_file < self.rows and self._open(number) is not None:
            number += 1
        return min(number * self.rows_a_file, self.rows)

    def fill(self, rows: Iterable[Any]) -> None:
        """Store the rows after :attr:`done`, as many as are missing, a file at a time."""
        if not self._is_ours():
            shutil.rmtree(self.folder, ignore_errors=True)
            with atomic_file(self.folder / _KEY) as file:
                file.write_text(self.key, "utf-8")
        number = self.done // self.rows_a_file
        waiting: list[Any] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == self._rows_of(number):
                with atomic_file(self._file(number)) as path, path.open("wb") as out:
                    np.save(out, np.array(waiting, self.dtype), allow_pickle=False)
                number, waiting = number + 1, []

    def array(self) -> npt.NDArray[Any]:
        """Return all rows, once all are stored."""
        files = -(-self.rows // self.rows_a_file)
        opened = map(self._open, range(files))
        parts = [np.asarray(part) for part in opened if part is not None]
        if not parts:
            return np.empty((0, *self.shape), self.dtype)
        return np.concatenate(parts)

    def _is_ours(self) -> bool:
        try:
            return (self.folder / _KEY).read_text("utf-8") == self.key
        except (OSError, ValueError):
            return False

    def _rows_of(self, number: int) -> int:
        return min(self.rows_a_file, self.rows - number * self.rows_a_file)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npy"

    def _open(self, number: int) -> npt.NDArray[Any] | None:
        """Return the rows of a file, read as they are used; None if it is not there as written."""
        try:
            found: npt.NDArray[Any] = np.load(self._file(number), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        good = found.dtype == self.dtype and found.shape == (self._rows_of(number), *self.shape)
        return found if good else None
