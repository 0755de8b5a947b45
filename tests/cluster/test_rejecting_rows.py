"""The rows of many machines say what is rejected, where the bundle has a threshold."""

from __future__ import annotations

import io

import pytest

from fleetnet.cluster.rows import write_rows
from fleetnet.inference.prediction import Prediction, Score

parquet = pytest.importorskip("pyarrow.parquet")
PREDICTIONS = (
    Prediction("a.jpg", (Score("a", 0, 0.75),), rejected=True, score=-1.5),
    Prediction("b.jpg", (Score("b", 1, 0.75),), rejected=False, score=2.5),
    Prediction("c.jpg", error="it is damaged"),
)


def test_columns_are_there_only_where_something_can_be_rejected() -> None:
    rows = write_rows(PREDICTIONS, ("a", "b"), 1, {}, rejects=True)
    table = parquet.read_table(io.BytesIO(rows.content)).to_pydict()
    assert list(table) == ["image", "class_1", "probability_1", "rejected", "score", "error"]
    assert table["rejected"] == [True, False, None]
    assert table["score"] == [-1.5, 2.5, None]
    plain = write_rows(PREDICTIONS, ("a", "b"), 1, {})
    names = parquet.read_table(io.BytesIO(plain.content)).column_names
    assert names == ["image", "class_1", "probability_1", "error"]
