"""``shards.json``: what was written beside shards about them, for whoever reads or fetches them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fleetnet.data.sources.tar_columns import TarColumns, load
from fleetnet.errors import DataError
from fleetnet.files import atomic_file
from fleetnet.schema import first_problem

MANIFEST = "shards.json"
INDEX = "shards.index.npz"
FORMAT = "fleetnet-shards"
MAX_BYTES = 2**28
"""Of a manifest; a million shards take less."""
ShardsKind = Literal["webdataset", "parquet"]


def _plain(name: str) -> str:
    """Refuse a name that leads elsewhere."""
    parts = name.split("/")
    if "\\" in name or "\0" in name or not all(part not in ("", ".", "..") for part in parts):
        raise ValueError("must be a name below the folder")
    return name


class FileEntry(BaseModel):
    """A file that lies beside the manifest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, AfterValidator(_plain)]
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ShardEntry(FileEntry):
    """A shard, and how many samples it has."""

    samples: int = Field(ge=0)


class ShardManifest(BaseModel):
    """What ``shards.json`` says.

    Attributes:
        format: says that it is one.
        version: of the format.
        kind: of the shards.
        samples: how many there are in all.
        shards: in the order of the index.
        index: of the samples in tar files; None for Parquet files, which have their own.
        made_from: what the samples were, for people.
        max_side: longest side that images were made smaller to; None where they are as they were.
        left_out: how many images could not be read, and so are not in the shards.
        plan: a word for the data and options that they were made of.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal["fleetnet-shards"] = "fleetnet-shards"
    version: Literal[1] = 1
    kind: ShardsKind
    samples: int = Field(ge=0)
    shards: tuple[ShardEntry, ...]
    index: FileEntry | None = None
    made_from: str = ""
    max_side: int | None = None
    left_out: int = 0
    plan: str = ""

    def save(self, path: Path) -> None:
        """Write it.

        Raises:
            FleetnetError: it cannot be written.
        """
        with atomic_file(path) as file:
            file.write_text(self.model_dump_json(indent=1) + "\n", "utf-8")


def manifest_from(content: bytes, where: str) -> ShardManifest | None:
    """Return what a file's content says; None if it is something else's ``shards.json``.

    Raises:
        DataError: it is one of ours and is wrong, or of a newer version.
    """
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict) or read.get("format") != FORMAT:
        return None
    try:
        return ShardManifest.model_validate(read)
    except ValidationError as error:
        problem = first_problem(error)
        raise DataError(problem.at(where), file=where) from None


def manifest_beside(folder: Path) -> ShardManifest | None:
    """Return a folder's manifest; None if it has none.

    Raises:
        DataError: it is wrong, or cannot be read.
    """
    path = folder / MANIFEST
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        return manifest_from(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None


def index_beside(root: Path, names: Sequence[str], sizes: Sequence[int]) -> TarColumns | None:
    """Return the index of shards that lies beside them; None if it is not of these shards.

    Args:
        root: the folder that the names are below.
        names: of the shards.
        sizes: how many bytes each has now.

    Raises:
        DataError: the manifest or the index is damaged.
    """
    manifest = manifest_beside(root)
    if manifest is None or manifest.index is None:
        return None
    known = {entry.name: entry.bytes for entry in manifest.shards}
    if any(known.get(name) != size for name, size in zip(names, sizes, strict=True)):
        return None  # they were changed, or others have come: their headers say what is so
    path = root / manifest.index.name
    try:
        if path.stat().st_size != manifest.index.bytes:
            return None
        found = load(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None
    return columns_that_fit(found, manifest, str(path)).of_files(names)


def columns_that_fit(found: TarColumns, manifest: ShardManifest, where: str) -> TarColumns:
    """Return an index if it is the manifest's.

    Raises:
        DataError: it is not.
    """
    told = {entry.name: entry.bytes for entry in manifest.shards}
    if dict(zip(found.files, found.bytes, strict=True)) != told or len(found) != manifest.samples:
        raise DataError(
            f"{where} is the index of other shards than {MANIFEST} lists: remove both, and the "
            "shards are read instead",
            file=where,
        )
    return found
