"""``fleetnet data``: looking at labelled images before training on them."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Annotated

import typer

from fleetnet.amounts import count
from fleetnet.cli.console import console, print_json, progress, say, warn_left_out
from fleetnet.cli.data_preview import preview
from fleetnet.cli.data_report import print_report
from fleetnet.cli.sources import DataArgument, with_source_options
from fleetnet.data.check import check as run_check
from fleetnet.data.findings import FORMAT, Report
from fleetnet.data.near_duplicates import MAX_DISTANCE
from fleetnet.data.sources import Source, SourceOptions, left_out_of, open_source
from fleetnet.errors import DataError, require
from fleetnet.files import atomic_file

REPORT = "report.json"
NEAR = 4

_SHEET = re.compile(r"\d+(-[A-Za-z0-9-]+)?\.jpg")


def register(app: typer.Typer) -> None:
    """Add the verb and its own verbs."""
    data = typer.Typer(help="Look at labelled images before training.", rich_markup_mode=None)
    data.callback()(_data)
    data.command("check", short_help="Say what is wrong with labelled images.")(check)
    data.command("preview", short_help="Draw what augmentation makes of images.")(preview)
    app.add_typer(data, name="data")


def _data() -> None:
    """Look at labelled images before training."""


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
            help=f"Bits of 64 in which the hashes of near duplicates may differ.  [{NEAR}]",
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
    opened = open_source(data, options=source)
    folder = output or (None if no_sheets else default_output(opened))
    if folder is not None:
        _prepare(folder, opened)
    distance, note = _distance(near)
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
    if folder is not None:
        with atomic_file(folder / REPORT) as file:
            file.write_text(json.dumps(report.to_json(), indent=2) + "\n", "utf-8")
    if as_json:
        print_json(report.to_json())
    else:
        print_report(console(), report)
    warn_left_out(left_out_of(opened))
    if note:
        say(note)
    if folder is not None:
        say(f"written: {_written(folder, report)}")
    if report.wrong:
        raise typer.Exit(1)


def default_output(source: Source) -> Path:
    """Return ``data-check/NAME``, NAME being what the data are called."""
    words = [Path(source.spec.get("data", "")).name, source.spec.get("label", "")]
    name = re.sub(r"[^\w.-]+", "-", "-".join(word for word in words if word)).strip(".-")
    return Path("data-check") / (name or "data")


def _distance(near: int | None) -> tuple[int | None, str | None]:
    """Return how near to look, and what to say where ImageHash is not there to look with."""
    if near is None and importlib.util.find_spec("imagehash") is None:
        return None, str(require("ImageHash", "check", "looking for near duplicates"))
    return NEAR if near is None else near, None


def _prepare(folder: Path, source: Source) -> None:
    """Refuse a folder that is not for this, and take an older check's sheets out of it.

    Raises:
        DataError: it lies in the data, is no folder, or holds other things.
    """
    data = Path(source.spec.get("data", ""))
    if data.is_dir() and folder.resolve().is_relative_to(data.resolve()):
        raise DataError(
            f"{folder} lies in the data itself: choose another --output, or --no-sheets"
        )
    try:
        entries = list(folder.iterdir()) if folder.exists() else []
        if entries and not _is_report(folder / REPORT):
            raise DataError(f"{folder} holds other files: choose another --output")
        for entry in entries:
            if _SHEET.fullmatch(entry.name):
                entry.unlink()
    except OSError as error:
        raise DataError(f"cannot use {folder}: {error.strerror}; choose another --output") from None


def _is_report(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            return f'"format": "{FORMAT}"' in text.read(200)
    except OSError:
        return False


def _written(folder: Path, report: Report) -> str:
    sheets = len(report.sheets)
    return f"{folder / REPORT}" + (f" and {count(sheets, 'sheet')} beside it" if sheets else "")
