"""``fleetnet data``: looking at labelled images before training on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetnet.amounts import count
from fleetnet.cli.console import console, print_json, progress, say, warn_left_out
from fleetnet.cli.data_preview import preview
from fleetnet.cli.data_report import print_report
from fleetnet.cli.data_shard import shard
from fleetnet.cli.sources import DataArgument, open_watched, with_source_options
from fleetnet.data.check import check as run_check
from fleetnet.data.near_duplicates import MAX_DISTANCE, USUAL_DISTANCE, usual_distance
from fleetnet.data.report_folder import (
    IN_THE_DATA,
    prepare_folder,
    usual_folder,
    write_report,
)
from fleetnet.data.sources import Source, SourceOptions, left_out_of
from fleetnet.errors import DataError


def register(app: typer.Typer) -> None:
    """Add the verb and its own verbs."""
    data = typer.Typer(
        help="Look at labelled images, or make shards of them.",
        rich_markup_mode=None,
    )
    data.callback()(_data)
    data.command("check", short_help="Say what is wrong with labelled images.")(check)
    data.command("preview", short_help="Draw what augmentation makes of images.")(preview)
    data.command("shard", short_help="Write labelled images into shards.")(shard)
    app.add_typer(data, name="data")


def _data() -> None:
    """Look at labelled images, or make shards of them."""


@with_source_options
def check(
    data: DataArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for sheets and report.json.  [data-check/NAME]"
        ),
    ] = None,
    no_sheets: Annotated[
        bool,
        typer.Option("--no-sheets", help="Draw no sheets; write a report only with --output."),
    ] = False,
    near: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_DISTANCE,
            help="Bits of 64 in which the hashes of near duplicates may differ.  "
            f"[{USUAL_DISTANCE}]",
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="Input side in pixels.")] = 224,
    val_fraction: Annotated[
        float, typer.Option(help="Share held out, as data.val_fraction in training.")
    ] = 0.25,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, as in training.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Threads that read images.  [all cores]")
    ] = None,
    sample_bits: Annotated[
        int | None,
        typer.Option(
            min=8, max=16, help="Bits that 16-bit samples use, as input.sample_bits in training."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Read every image once and report classes, sizes, duplicates and what cannot be read.

    Draws a sheet of thumbnails for each class. Exits with 1 where something makes training or its
    figures wrong: unreadable images, 16-bit images that use fewer bits, identical images with
    different labels or, in data with train/ and val/ or test/, on both sides, and data that cannot
    be split.
    """
    if not 0 < val_fraction < 1:
        raise DataError(f"--val-fraction must be above 0 and below 1, not {val_fraction:g}")
    opened = open_watched(data, source)
    folder = output or (None if no_sheets else usual_folder(opened))
    if folder is not None:
        _prepare(folder, opened)
    distance, note = usual_distance() if near is None else (near, "")
    with progress() as bar:
        task = bar.add_task("checking", total=len(opened.samples))
        report = run_check(
            opened,
            near=distance,
            size=size,
            val_fraction=val_fraction,
            seed=seed,
            sheets=None if no_sheets else folder,
            workers=workers,
            sample_bits=sample_bits,
            advance=lambda count: bar.advance(task, count),
        )
    written = None if folder is None else write_report(folder, report)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(console(), report)
    warn_left_out(left_out_of(opened))
    if note:
        say(note)
    if written is not None:
        sheets = f" and {count(len(report.sheets), 'sheet')} beside it" if report.sheets else ""
        say(f"written: {written}{sheets}")
    if report.wrong:
        raise typer.Exit(1)


def _prepare(folder: Path, source: Source) -> None:
    """Make a folder ready for the report; the advice on one in the data is a flag."""
    try:
        prepare_folder(folder, source)
    except DataError as error:
        if error.code != IN_THE_DATA:
            raise
        raise DataError(f"{error}, or --no-sheets", code=error.code) from None
