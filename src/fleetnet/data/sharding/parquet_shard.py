"""Writing a Parquet file of samples as the Hugging Face hub keeps them, and reading it back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleetnet.data.contents import digest_of
from fleetnet.data.sharding.images import Taken
from fleetnet.errors import DataError, needing

GROUP = 100
"""Images in a row group, which is read as a whole."""


class ParquetShard:
    """A Parquet file that is being written, its classes in the schema.

    Args:
        path: of the file.
        classes: names of the classes.
        multi_label: whether samples have any number of labels.

    Raises:
        FleetnetError: pyarrow is not installed.
    """

    def __init__(self, path: Path, classes: Sequence[str], *, multi_label: bool) -> None:
        with needing(("pyarrow",), "parquet", "writing Parquet files"):
            import pyarrow as pa
            import pyarrow.parquet as parquet
        self._path = path
        self._multi_label = multi_label
        self._digests: list[bytes] = []
        self._labels: list[tuple[int, ...]] = []
        self._rows: list[dict[str, Any]] = []
        label = pa.list_(pa.int64()) if multi_label else pa.int64()
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        named: dict[str, Any] = {"names": list(classes), "_type": "ClassLabel"}
        features = {
            "image": {"_type": "Image"},
            "label": {"feature": named, "_type": "Sequence"} if multi_label else named,
        }
        about = json.dumps({"info": {"features": features}})
        self._schema = pa.schema(
            [("image", image), ("label", label)], metadata={"huggingface": about}
        )
        # Images do not get smaller.
        self._writer = parquet.ParquetWriter(path, self._schema, compression="none")

    def add(self, key: str, image: Taken, labels: tuple[int, ...]) -> None:
        """Add the next sample."""
        self._rows.append(
            {
                "image": {"bytes": image.data, "path": f"{key}.{image.ending}"},
                "label": list(labels) if self._multi_label else labels[0],
            }
        )
        self._labels.append(labels)
        self._digests.append(digest_of(image.data))
        if len(self._rows) == GROUP:
            self._write()

    def close(self) -> None:
        """Complete the file."""
        if self._rows:
            self._write()
        self._writer.close()

    def abandon(self) -> None:
        """Close the file."""
        self._writer.close()

    def verify(self, name: str) -> None:
        """Read the file back.

        Raises:
            DataError: it is not what was written.
        """
        import pyarrow.parquet as parquet

        digests: list[bytes] = []
        labels: list[tuple[int, ...]] = []
        with parquet.ParquetFile(self._path) as opened:
            for batch in opened.iter_batches(GROUP, use_threads=False):
                digests += [digest_of(row["bytes"]) for row in batch.column("image").to_pylist()]
                labels += [
                    tuple(value) if self._multi_label else (value,)
                    for value in batch.column("label").to_pylist()
                ]
        if digests != self._digests or labels != self._labels:
            raise DataError(
                f"{self._path.parent / name} is not on the disk as it was written: check the disk, "
                "and start again"
            )

    def _write(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
