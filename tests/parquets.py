"""Parquet files of images, for tests of their sources."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write(
    path: Path,
    images: Sequence[bytes],
    labels: Sequence[Any],
    group: int,
    features: dict[str, Any] | None = None,
    **columns: Sequence[Any],
) -> Path:
    """Write a file as the Hugging Face hub has them; ``features`` become the schema's."""
    import pyarrow as pa
    import pyarrow.parquet

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": image, "path": None} for image in images]
    values = {"image": pa.array(rows, kind), "label": labels, **columns}
    table = pa.table(values)
    if features is not None:
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path
