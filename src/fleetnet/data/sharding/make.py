"""Making shards: in parallel, verified, and gone on with where a process was killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from fleetnet.data.sharding.images import take
from fleetnet.data.sharding.parquet_shard import ParquetShard
from fleetnet.data.sharding.plan import Keys, PlannedShard, ShardOptions, key_of_plan, plan
from fleetnet.data.sharding.record import Record, parts_in, record_of
from fleetnet.data.sharding.tar_shard import TarShard
from fleetnet.data.sources import Source
from fleetnet.data.sources.shard_manifest import (
    INDEX,
    MANIFEST,
    FileEntry,
    ShardEntry,
    ShardManifest,
    manifest_beside,
)
from fleetnet.data.sources.tar_columns import joined, load
from fleetnet.data.sources.webdataset import CLASSES_FILE
from fleetnet.data.sources.webdataset import SUFFIX as TAR
from fleetnet.errors import DataError, FleetnetError, ImageError, needing
from fleetnet.files import atomic_file, sha256_of, write_error
from fleetnet.labels import read_names
from fleetnet.locks import locked
from fleetnet.reporting import Advance
from fleetnet.threads import map_in_threads

MAKING = ".making"
"""Folder in the destination of what is known of the shards that are made; gone when all are."""
_KEY = "plan"


def make_shards(
    source: Source,
    destination: Path,
    options: ShardOptions | None = None,
    *,
    workers: int | None = None,
    advance: Advance = lambda _: None,
) -> tuple[ShardManifest, tuple[str, ...]]:
    """Write a source's images into shards, with an index and a manifest beside them.

    Each shard is read back after it was written, and appears under its name only if the number of
    its samples, the digest of every image and the file's SHA-256 are those that were written. A
    call that was killed is continued by the same one: shards that are there, and still have their
    SHA-256, are not made again.

    Args:
        source: of the images.
        destination: folder to make, or to go on with.
        options: how.
        workers: threads, each of which makes a shard; one for each core if None.
        advance: called from these threads with how many more images are done.

    Returns:
        What ``shards.json`` says, and a line for each image that could not be read.

    Raises:
        DataError: there is something else at the destination, another process makes it, or no image
            can be read.
        FleetnetError: the disk is full, or a package is not installed.
    """
    options = options or ShardOptions()
    key = key_of_plan(source, options)
    finished = _manifest_of(destination, key)
    if finished is not None:
        advance(len(source.samples))
        return finished, ()
    making = destination / MAKING
    try:
        _begin(destination, making, key)
        with needing(("filelock",), "remote", "making shards"):
            from filelock import Timeout
        try:
            with locked(making / "lock", timeout=0):
                for part in [*parts_in(destination), *parts_in(making)]:
                    part.unlink()
                records = _all(source, destination, options, workers, advance)
                manifest = _finish(source, destination, options, records, key)
        except Timeout:
            raise DataError(f"another process is making {destination}: wait for it") from None
        shutil.rmtree(making)
    except OSError as error:
        raise write_error(destination, error) from error
    return manifest, tuple(line for record in records for line in record.left_out)


def _manifest_of(destination: Path, key: str) -> ShardManifest | None:
    """Return what the same call made before, whole.

    Raises:
        DataError: it is another call's, or a shard has changed.
    """
    manifest = manifest_beside(destination) if destination.is_dir() else None
    if manifest is None:
        return None
    if manifest.plan != key:
        raise DataError(
            f"{destination} has shards of other data or with other options: choose another place"
        )
    for entry in (*manifest.shards, *([manifest.index] if manifest.index else [])):
        file = destination / entry.name
        if not file.is_file() or sha256_of(file) != entry.sha256:
            raise DataError(
                f"{file} is missing, or is not what it was when it was made: remove {destination} "
                "and start again",
                file=str(file),
            )
    return manifest


def _begin(destination: Path, making: Path, key: str) -> None:
    """Make the folder, or find that an earlier call with the same arguments has.

    Raises:
        DataError: it holds other things.
    """
    known = making / _KEY
    if known.is_file():
        if known.read_text("utf-8", errors="replace") != key:
            raise DataError(
                f"{destination} has the beginning of shards of other data or with other options: "
                "choose another place, or remove it"
            )
        return
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise DataError(f"{destination} holds other things: choose another place")
    making.mkdir(parents=True, exist_ok=True)
    with atomic_file(known) as file:
        file.write_text(key, "utf-8")


def _all(
    source: Source,
    destination: Path,
    options: ShardOptions,
    workers: int | None,
    advance: Advance,
) -> list[Record]:
    keys = Keys(source)

    def make(shard: PlannedShard) -> Record:
        path, about = destination / shard.name, destination / MAKING / f"{shard.name}.json"
        record = record_of(about, path)
        if record is not None and _has_index(destination, shard.name):
            advance(len(shard.indices))
            return record
        record = _one(source, shard, destination, options, keys, advance)
        record.save(about)
        return record

    threads = workers or os.cpu_count() or 1
    return list(map_in_threads(make, plan(source, options), threads))


def _has_index(destination: Path, name: str) -> bool:
    """Tell whether what was found in a tar file is there as it was written; others have none."""
    if not name.endswith(TAR):
        return True
    try:
        load(destination / MAKING / f"{name}.npz")
    except (DataError, OSError):
        return False
    return True


def _one(
    source: Source,
    shard: PlannedShard,
    destination: Path,
    options: ShardOptions,
    keys: Keys,
    advance: Advance,
) -> Record:
    """Write a shard and verify it."""
    left_out: list[str] = []
    kind = ParquetShard if options.kind == "parquet" else TarShard
    with atomic_file(destination / shard.name) as part:
        out = kind(part, source.classes, multi_label=source.multi_label)
        try:
            for index in shard.indices.tolist():
                sample = source.samples[index]
                try:
                    image = take(source, index, options.max_side)
                except ImageError as error:
                    left_out.append(f"{sample.name}: {error}")
                else:
                    out.add(keys[index], image, sample.labels)
                advance(1)
        except BaseException:
            out.abandon()
            raise
        samples = len(shard.indices) - len(left_out)
        sha256 = _verified(out, part, destination, shard.name)
        entry = ShardEntry(
            name=shard.name, bytes=part.stat().st_size, sha256=sha256, samples=samples
        )
    return Record(entry=entry, left_out=tuple(left_out))


def _verified(out: TarShard | ParquetShard, part: Path, destination: Path, name: str) -> str:
    """Complete a shard, read it back, keep what is known of its samples, and return its SHA-256."""
    if isinstance(out, TarShard):
        sha256 = out.close()
        out.verified(name, sha256).save(destination / MAKING / f"{name}.npz")
        return sha256
    out.close()
    out.verify(name)
    return sha256_of(part)


def _finish(
    source: Source,
    destination: Path,
    options: ShardOptions,
    records: Sequence[Record],
    key: str,
) -> ShardManifest:
    """Write the index and, last of all, the manifest, by which the shards are complete."""
    left_out = [line for record in records for line in record.left_out]
    samples = sum(record.entry.samples for record in records)
    if samples + len(left_out) != len(source.samples):
        raise FleetnetError(f"{samples:,} images were written of {len(source.samples):,}")
    if not samples:
        raise DataError(f"no image of {source.description} can be read: {left_out[0]}")
    _write_classes(destination / CLASSES_FILE, source.classes)
    entries = tuple(record.entry for record in records)
    index = None
    if options.kind == "webdataset":
        path = destination / INDEX
        making = destination / MAKING
        joined([load(making / f"{entry.name}.npz") for entry in entries]).save(path)
        index = FileEntry(name=INDEX, bytes=path.stat().st_size, sha256=sha256_of(path))
    manifest = ShardManifest(
        kind=options.kind,
        samples=samples,
        shards=entries,
        index=index,
        made_from=source.description,
        max_side=options.max_side,
        left_out=len(left_out),
        plan=key,
    )
    manifest.save(destination / MANIFEST)
    return manifest


def _write_classes(path: Path, classes: Sequence[str]) -> None:
    """Write the names of the classes so that they are read as they are."""
    forms: tuple[Callable[[int, str], str], ...] = (
        lambda _, name: name,
        lambda number, name: f"{number} {name}",
    )
    for form in forms:
        with atomic_file(path) as file:
            lines = (form(number, name) for number, name in enumerate(classes))
            file.write_text("\n".join(lines) + "\n", "utf-8")
        if read_names(path) == tuple(classes):
            return
    path.unlink()
    raise DataError(
        "a class has a name that does not fit on a line of classes.txt, or begins or ends with "
        "white space: rename it"
    )
