"""``fleetnet export``: from a checkpoint to a verified bundle."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fleetnet.bundle import Bundle
from fleetnet.cli.console import console, print_line, say, warn_left_out
from fleetnet.cli.opening import open_file
from fleetnet.cli.options import ModelArgument
from fleetnet.errors import FleetnetError
from fleetnet.export.cached import check_installed
from fleetnet.inference.pictures import MADE_UP
from fleetnet.inference.verify import TOLERANCE
from fleetnet.left_out import LeftOut
from fleetnet.weights.subject import Subject, find_subject


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", short_help="Write a bundle, verified.")(export)


def export(
    model: ModelArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make.  [MODEL's .bundle]")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            help="Verify with these files, folders or globs.  [held-out images; made-up pictures "
            "where there is no training data]",
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
            help="Add a graph that takes only batches of N, for runtimes that need it; may be "
            "repeated.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Names of the classes.  [the checkpoint's]"),
    ] = None,
) -> None:
    """Write a bundle, verified against the trained network.

    The bundle's ONNX graph takes raw pixels; it is run in ONNX Runtime and OpenVINO, and where a
    probability differs beyond the tolerance or a top-1 differs at all, nothing is written.
    """
    subject = find_subject(model)
    if subject.kind == "bundle":
        raise FleetnetError(
            f"{model} is exported already: it is a bundle, copy it where you need it"
        )
    check_installed("export")
    bundle = run_export(
        open_file(subject),
        output or _usual_output(subject),
        images or [],
        limit,
        tolerance,
        calibrate,
        fixed_batch or (),
        labels,
    )
    print_bundle(bundle)
    if all(record.source.endswith(MADE_UP) for record in bundle.manifest.artifacts[0].verification):
        say(
            f"verified only on {MADE_UP}: 'fleetnet verify {bundle.path} --images DIR' does it on "
            "yours"
        )
    print_line(f"next: fleetnet predict {bundle.path} IMAGES…")


def _usual_output(subject: Subject) -> Path:
    """Return where a bundle goes: beside the file, or of a published set here under its name."""
    if subject.published is not None:
        return Path(f"{subject.published.model}.bundle")
    # A folder's name may have dots: rexnet_100.nav_in1k.
    stem = subject.path.name if subject.path.is_dir() else subject.path.stem
    return subject.path.with_name(f"{stem}.bundle")


def run_export(
    checkpoint: Path,
    output: Path,
    images: list[str],
    limit: int,
    tolerance: float,
    calibrate: bool = False,
    fixed_batches: Iterable[int] = (),
    labels: Path | None = None,
) -> Bundle:
    """Export, saying what goes on."""
    from fleetnet.export.bundle import export_bundle

    left_out = LeftOut()
    bundle = export_bundle(
        checkpoint,
        output,
        images=images,
        limit=limit,
        tolerance=tolerance,
        calibrate=calibrate,
        fixed_batches=fixed_batches,
        labels=labels,
        left_out=left_out,
        say=say,
    )
    warn_left_out(left_out)
    return bundle


def print_bundle(bundle: Bundle) -> None:
    """Print what a bundle holds and what its verification measured."""
    for artifact in bundle.artifacts:
        for file in artifact.files:
            print_line(
                f"{bundle.path / file.name}  {file.bytes / 1e6:.2f} MB  sha256 {file.sha256[:12]}…"
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
