"""``fleetnet data shard``: many images into few files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetnet.amounts import count
from fleetnet.amounts import size as size_text
from fleetnet.cli.console import print_line, progress, warn_unreadable
from fleetnet.cli.sources import DataArgument, open_told, with_source_options
from fleetnet.data.sharding.make import make_shards
from fleetnet.data.sharding.plan import PER_SHARD, ShardOptions
from fleetnet.data.sources import SourceOptions
from fleetnet.data.sources.shard_manifest import ShardsKind


@with_source_options
def shard(
    data: DataArgument,
    output: Annotated[
        Path, typer.Argument(metavar="DEST", help="Folder for the shards, new or half-made.")
    ],
    form: Annotated[
        ShardsKind,
        typer.Option("--format", help="Tar files of WebDataset, or Parquet."),
    ] = "webdataset",
    per_shard: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Images in a shard.")
    ] = PER_SHARD,
    max_side: Annotated[
        int | None,
        typer.Option(min=1, help="Make images smaller whose longest side has more pixels."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order in the shards.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Shards made at once.  [all cores]")
    ] = None,
    *,
    source: SourceOptions,
) -> None:
    """Write labelled images into shards, each read back and compared with what was written.

    Called again after it was killed, it goes on with what is missing. Exits with 1 where images
    could not be read; they are named, and are not in the shards.
    """
    opened = open_told(data, source)
    options = ShardOptions(form, per_shard, max_side, seed)
    with progress() as bar:
        task = bar.add_task("writing", total=len(opened.samples))
        manifest, unreadable = make_shards(
            opened,
            output,
            options,
            workers=workers,
            advance=lambda number: bar.advance(task, number),
        )
    total = sum(entry.bytes for entry in manifest.shards)
    print_line(
        f"{count(manifest.samples, 'image')} of {count(len(opened.classes), 'class')} in "
        f"{count(len(manifest.shards), 'shard')}, {size_text(total)}: {output}"
    )
    warn_unreadable(unreadable)
    if manifest.left_out:
        raise typer.Exit(1)
