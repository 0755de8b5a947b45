"""Answers as rows of a Parquet file."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fleetnet.errors import needing
from fleetnet.inference.prediction import Prediction

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 10_000
"""Rows that are kept in memory, and make a row group."""


class Rows(NamedTuple):
    """A Parquet file's content, and what is in it."""

    content: bytes
    images: int
    unreadable: int


def write_rows(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    top_k: int,
    about: dict[str, str],
    *,
    rejects: bool = False,
) -> Rows:
    r"""Return the rows of answers: the columns of ``fleetnet predict --csv``.

    These are ``image``; ``class_1``, ``probability_1`` and so on, which are null where the image
    cannot be read; and ``error``, which is null where it can. A byte of a name that is not UTF-8 is
    ``\udcXX``, XX being the byte.

    Args:
        predictions: in the order of the rows.
        classes: names of all classes.
        top_k: how many of them a row has.
        about: words that the file has in its metadata.
        rejects: whether the bundle has a threshold: then there are the columns ``rejected`` and
            ``score`` before ``error``, null where the image cannot be read.

    Raises:
        FleetnetError: the package pyarrow is not installed.
    """
    with needing(("pyarrow",), "cluster", "writing Parquet files"):
        import pyarrow.parquet as parquet
    names = [_text(name) for name in classes]
    schema = _schema(top_k, about, rejects=rejects)
    out = io.BytesIO()
    images = unreadable = 0
    coming = iter(predictions)
    with parquet.ParquetWriter(out, schema) as writer:
        while group := list(itertools.islice(coming, GROUP)):
            images += len(group)
            unreadable += sum(not prediction.ok for prediction in group)
            writer.write_table(_table(group, names, top_k, schema))
    return Rows(out.getvalue(), images, unreadable)


def _schema(top_k: int, about: dict[str, str], *, rejects: bool) -> pa.Schema:
    import pyarrow as pa

    fields = [pa.field("image", pa.string(), nullable=False)]
    for rank in range(1, top_k + 1):
        fields.append(pa.field(f"class_{rank}", pa.string()))
        fields.append(pa.field(f"probability_{rank}", pa.float64()))
    if rejects:
        fields += [pa.field("rejected", pa.bool_()), pa.field("score", pa.float64())]
    fields.append(pa.field("error", pa.string()))
    return pa.schema(fields, {f"fleetnet.{key}": value for key, value in about.items()})


def _table(
    group: Sequence[Prediction], names: Sequence[str], top_k: int, schema: pa.Schema
) -> pa.Table:
    import pyarrow as pa

    labels = pa.array(names, pa.string())
    columns: list[pa.Array] = [pa.array([_text(one.source) for one in group], pa.string())]
    for rank in range(top_k):
        scores = [one.top[rank] if one.ok else None for one in group]
        codes = pa.array([score and score.index for score in scores], pa.int32())
        columns.append(labels.take(codes))
        columns.append(pa.array([score and score.probability for score in scores], pa.float64()))
    if "rejected" in schema.names:
        judged = [None if one.score is None else one.rejected for one in group]
        columns += [pa.array(judged, pa.bool_()), pa.array([o.score for o in group], pa.float64())]
    errors = [None if one.error is None else _text(one.error) for one in group]
    columns.append(pa.array(errors, pa.string()))
    return pa.table(columns, schema=schema)


def _text(text: str) -> str:
    """Return a text with what is no Unicode in it written out."""
    return text.encode("utf-8", "backslashreplace").decode()
