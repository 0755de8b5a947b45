"""``fleetnet export``: from a checkpoint to a verified bundle."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from fleetnet.amounts import size
from fleetnet.bundle import Bundle
from fleetnet.cli.console import (
    Steps,
    console,
    download_bar,
    print_line,
    progress,
    say,
    warn,
    warn_left_out,
)
from fleetnet.cli.judging import (
    LabelledOption,
    MaxLossOption,
    MetricOption,
    check_standard,
    share_of,
)
from fleetnet.cli.opening import open_file, warn_passed_over
from fleetnet.cli.options import WeightsArgument
from fleetnet.cli.sources import open_told, with_source_options
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.errors import FleetnetError
from fleetnet.export.cached import check_installed
from fleetnet.inference.judging import lost, sentence
from fleetnet.inference.metric import TOP1
from fleetnet.inference.pictures import MADE_UP
from fleetnet.inference.verify import TOLERANCE
from fleetnet.left_out import LeftOut
from fleetnet.weights.subject import Subject, find_subject


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", short_help="Write a bundle, verified.")(export)


@with_source_options
def export(
    model: WeightsArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make.  [MODEL's .bundle]")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Verify with these files, folders or globs.  [held-out images; made-up pictures "
            "where there is no training data]",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Verify with at most this many images.  [64; with --to 128, or 1,000 with labels]",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest difference of a probability to allow.  [0.0001; with --to 0.001]",
        ),
    ] = None,
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
    data: LabelledOption = None,
    max_loss: MaxLossOption = None,
    metric: MetricOption = TOP1,
    agreement: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Instead, want the same answer on this share of the images."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TARGET[:PRECISION]",
            help="Convert to a format of other runtimes instead, a bundle too: 'web' is a page for "
            "browsers; 'fleetnet devices' lists them.",
        ),
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option("--chip", help="Chip that --to rknn converts for.  [rk3588]"),
    ] = None,
    *,
    source: SourceOptions,
) -> None:
    """Write a bundle, verified against the trained network.

    The bundle's ONNX graph takes raw pixels; it is run in ONNX Runtime and OpenVINO, and where a
    probability differs beyond the tolerance or a top-1 differs at all, nothing is written.
    """
    subject = find_subject(model)
    if to is not None:
        if calibrate or labels is not None:
            raise FleetnetError(
                "--calibrate and --labels make another bundle: export that first, and give it to "
                "--to"
            )
        if len(fixed_batch or ()) > 1:
            raise FleetnetError("--to takes one --fixed-batch: convert again for the others")
        check_standard(agreement, max_loss, metric)
        given = _Given(
            images or [],
            data if data is None else open_told(data, source),
            limit,
            tolerance,
            fixed_batch[0] if fixed_batch else None,
            chip,
        )
        _run_export_to(subject, to, output, given, max_loss, metric, agreement)
        return
    if chip is not None:
        raise FleetnetError("--chip is for files of another runtime: give it with --to")
    if max_loss is not None or agreement is not None or metric != TOP1 or data is not None:
        raise FleetnetError(
            "--data, --max-loss, --metric and --agreement are for fewer bits than fp32: give them "
            "with --to, or to 'fleetnet quantize'"
        )
    if subject.kind == "bundle":
        raise FleetnetError(
            f"{model} is exported already: it is a bundle, copy it where you need it"
        )
    check_installed("export")
    bundle = run_export(
        open_file(subject),
        output or subject.beside("bundle"),
        images or [],
        limit,
        TOLERANCE if tolerance is None else tolerance,
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


class _Given(NamedTuple):
    """What a conversion is verified with, and the batch and the chip that it is for."""

    images: list[str]
    data: Source | None
    limit: int | None
    tolerance: float | None
    batch: int | None
    chip: str | None


def _run_export_to(
    subject: Subject,
    to: str,
    output: Path | None,
    given: _Given,
    max_loss: float | None,
    metric: str,
    agreement: float | None,
) -> None:
    """Convert, saying what goes on and what there is in the end."""
    check_installed("export")
    from fleetnet.export import converted
    from fleetnet.export.shown import Allowed
    from fleetnet.export.targets import find_target

    if subject.kind == "bundle":
        warn_passed_over(Bundle.load(subject.path))
    left_out = LeftOut()
    with download_bar("weights") as fetched, progress(unit="") as bar:
        bundle = converted.export_to(
            subject,
            to,
            output or subject.beside(to.replace(":", "-")),
            batch=given.batch,
            chip=given.chip,
            images=given.images,
            data=given.data,
            limit=given.limit,
            tolerance=converted.TOLERANCE if given.tolerance is None else given.tolerance,
            allowed=Allowed(metric, share_of(max_loss), agreement),
            left_out=left_out,
            say=say,
            begin=Steps(bar),
            fetched=fetched,
        )
    warn_left_out(left_out)
    print_bundle(bundle)
    if not bundle.artifacts[0].verification:
        warn(f"not verified: nothing here runs {to}")
    rejection = bundle.manifest.rejection
    if rejection is not None and not find_target(to)[0].rejects:
        warn(
            f"{to} gives logits and rejects nothing by itself: your program has to compare "
            f"{rejection.score} with {rejection.threshold:g}, as the page says"
        )
    print_line(f"how to run it: {converted.page_of(bundle)}")


def run_export(
    checkpoint: Path,
    output: Path,
    images: list[str],
    limit: int | None,
    tolerance: float,
    calibrate: bool = False,
    fixed_batches: Iterable[int] = (),
    labels: Path | None = None,
) -> Bundle:
    """Export, saying what goes on."""
    from fleetnet.export.bundle import export_bundle
    from fleetnet.export.verification_images import IMAGES

    left_out = LeftOut()
    bundle = export_bundle(
        checkpoint,
        output,
        images=images,
        limit=IMAGES if limit is None else limit,
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
            print_line(f"{bundle.path / file.name}  {size(file.bytes)}  sha256 {file.sha256[:12]}…")
        if artifact.verification:
            table = Table(box=None, pad_edge=False, header_style="bold")
            table.add_column("engine")
            fewer = any(record.judgement for record in artifact.verification)
            lost_too = ("points lost",) if fewer else ()
            for heading in ("images", "max |Δp|", "top-1 same", *lost_too, "ms/image, 1 thread"):
                table.add_column(heading, justify="right")
            for record in artifact.verification:
                table.add_row(
                    f"{record.engine} {record.engine_version}",
                    str(record.images),
                    f"{record.max_abs_diff:.1e}",
                    f"{record.top1_agreement:.0%}",
                    *([lost(record.judgement)] if fewer else []),
                    f"{record.latency_ms:.2f}",
                )
            console().print(table)
            for record in artifact.verification:
                if record.judgement:
                    print_line(f"{record.engine}: {sentence(record.judgement)}")
