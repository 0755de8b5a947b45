"""``fleetnet export``: from a checkpoint to a verified bundle."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fleetnet.bundle import Bundle
from fleetnet.cli.console import console, print_line, say
from fleetnet.errors import require
from fleetnet.inference.verify import TOLERANCE


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", short_help="Write a bundle, verified.")(export)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A file that 'fleetnet train' wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make.  [CHECKPOINT's .bundle]")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images", help="Verify with these files, folders or globs.  [held-out images]"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Verify with at most this many images.")] = 64,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of a probability to allow.")
    ] = TOLERANCE,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Fit a temperature to the held-out images, for honest probabilities.",
        ),
    ] = False,
    fixed_batch: Annotated[
        list[int] | None,
        typer.Option(
            "--fixed-batch",
            metavar="N",
            help="Add a graph that takes batches of N alone, for runtimes that want that; may be "
            "repeated.",
        ),
    ] = None,
) -> None:
    """Write a bundle, verified against the trained network on real images.

    The bundle's ONNX graph takes raw pixels; it is run in ONNX Runtime and OpenVINO, and where a
    probability differs beyond the tolerance or a top-1 differs at all, nothing is written.
    """
    bundle = run_export(
        checkpoint,
        output or checkpoint.with_suffix(".bundle"),
        images or [],
        limit,
        tolerance,
        calibrate,
        fixed_batch or (),
    )
    print_bundle(bundle)
    print_line(f"next: fleetnet predict {bundle.path} IMAGES…")


def run_export(
    checkpoint: Path,
    output: Path,
    images: list[str],
    limit: int,
    tolerance: float,
    calibrate: bool = False,
    fixed_batches: Iterable[int] = (),
) -> Bundle:
    """Export, saying what goes on."""
    try:
        from fleetnet.export.pipeline import export_bundle
    except ModuleNotFoundError as error:
        raise require(str(error.name), "export", "export") from None
    return export_bundle(
        checkpoint,
        output,
        images=images,
        limit=limit,
        tolerance=tolerance,
        calibrate=calibrate,
        fixed_batches=fixed_batches,
        say=say,
    )


def print_bundle(bundle: Bundle) -> None:
    """Print what a bundle holds and what its verification measured."""
    for artifact in bundle.manifest.artifacts:
        print_line(
            f"{bundle.path / artifact.file}  {artifact.bytes / 1e6:.2f} MB  "
            f"sha256 {artifact.sha256[:12]}…"
        )
        if artifact.verification:
            table = Table(box=None, pad_edge=False, header_style="bold")
            table.add_column("engine")
            for heading in ("images", "max |Δp|", "top-1 same", "ms/image, 1 thread"):
                table.add_column(heading, justify="right")
            for record in artifact.verification:
                table.add_row(
                    f"{record.engine} {record.engine_version}",
                    str(record.images),
                    f"{record.max_abs_diff:.1e}",
                    f"{record.top1_agreement:.0%}",
                    f"{record.latency_ms:.2f}",
                )
            console().print(table)
