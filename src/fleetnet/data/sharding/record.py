"""What is known of a shard that was made, kept until all are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fleetnet.data.sources.shard_manifest import ShardEntry
from fleetnet.files import atomic_file, sha256_of


class Record(BaseModel):
    """A shard that was written and verified.

    Attributes:
        entry: what ``shards.json`` says of it.
        left_out: a line for each image that could not be read.
    """

    model_config = ConfigDict(frozen=True)

    entry: ShardEntry
    left_out: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write it.

        Raises:
            FleetnetError: it cannot be written.
        """
        with atomic_file(path) as file:
            file.write_text(self.model_dump_json(), "utf-8")


def record_of(path: Path, shard: Path) -> Record | None:
    """Return the record of a shard if that is as it was made; None if it has to be made again."""
    try:
        found = Record.model_validate_json(path.read_bytes())
        if shard.stat().st_size == found.entry.bytes and sha256_of(shard) == found.entry.sha256:
            return found
    except (OSError, ValidationError):
        pass
    return None


def parts_in(folder: Path) -> Iterator[Path]:
    """Yield what a process that was killed left half-written."""
    for path in folder.iterdir():
        if path.name.startswith(".") and path.name.endswith(".part"):
            yield path
