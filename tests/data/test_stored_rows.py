"""Rows that are stored as they are computed."""

from pathlib import Path

import numpy as np
import pytest

from fleetnet.data.stored_rows import StoredRows


def rows(folder: Path, key: str = "key", count: int = 7) -> StoredRows:
    return StoredRows(folder, key, count, np.float32, (2,), rows_a_file=3)


def given(first: int, end: int) -> list[tuple[int, int]]:
    return [(number, -number) for number in range(first, end)]


def test_what_is_stored_is_not_computed_again(tmp_path: Path) -> None:
    stored = rows(tmp_path / "x")
    assert stored.done == 0

    def stopped() -> object:
        yield from given(0, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored.fill(stopped())  # type: ignore[arg-type]
    assert rows(tmp_path / "x").done == 3
    rows(tmp_path / "x").fill(given(3, 7))
    assert rows(tmp_path / "x").array().tolist() == [list(row) for row in given(0, 7)]
    assert rows(tmp_path / "x").done == 7


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01", b"\x80\x04x"])
def test_damaged_files_are_computed_again(tmp_path: Path, damage: bytes) -> None:
    rows(tmp_path).fill(given(0, 7))
    (tmp_path / "000001.npy").write_bytes(damage)
    assert rows(tmp_path).done == 3
    rows(tmp_path).fill(given(3, 7))
    assert len(rows(tmp_path).array()) == 7


def test_another_key_begins_anew(tmp_path: Path) -> None:
    rows(tmp_path / "x").fill(given(0, 7))
    other = rows(tmp_path / "x", "other", 2)
    assert other.done == 0
    other.fill(given(5, 7))
    assert other.array().tolist() == [[5, -5], [6, -6]]
    assert rows(tmp_path / "x").done == 0
    assert rows(tmp_path / "y", count=0).array().shape == (0, 2)
