"""``fleetnet verify``: does this bundle still answer as the trained network did, here?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fleetnet.amounts import count
from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    say,
    warn_left_out,
    warn_unreadable,
)
from fleetnet.cli.opening import open_bundle
from fleetnet.cli.options import DeviceOption, ModelArgument
from fleetnet.export.verification_failure import failure_of
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.comparison import Comparison
from fleetnet.inference.engines import CPU
from fleetnet.inference.verification import Report, verify_here
from fleetnet.inference.verify import TOLERANCE, prepare
from fleetnet.left_out import LeftOut


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify", short_help="Compare engines with the trained network.")(verify)


def verify(
    model: ModelArgument,
    images: Annotated[
        list[str],
        typer.Option(
            "--images",
            metavar="PATH",
            help="Real images: files, folders or globs; may be repeated.",
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, help="At most this many images.")] = 256,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of a probability to allow.")
    ] = TOLERANCE,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 1,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Compare every installed engine that has the device with the trained network, here.

    The reference is the network in PyTorch; where PyTorch is not installed, the answers that it
    gave at export to made-up images which the bundle records. A network in int8 has to give the
    same answers for the share of images that it was quantised for, or for so few less that chance
    explains it.
    """
    check_given(images)
    opened = open_bundle(model, images)
    for artifact in opened.artifacts:
        opened.files_of(artifact)  # checks the hashes
    left_out = LeftOut()
    unreadable: list[str] = []
    paths = find_images(images, left_out)
    pixels = prepare(paths, opened.manifest.preprocess, limit, unreadable)
    warn_left_out(left_out)
    warn_unreadable(unreadable)
    report = verify_here(
        opened,
        pixels,
        tolerance=tolerance,
        threads=threads,
        device=CPU if device is None else device,
        say=say,
    )
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    failure = failure_of(opened, report, pixels)
    if failure:
        raise failure


def _kept(comparison: Comparison, standard: float) -> str:
    same = f"{comparison.engine} in int8: the same answer on {comparison.agreement:.2%}"
    if comparison.agreement >= standard:
        return f"{same}, {standard:.2%} are wanted"
    return f"{same}, which of {count(comparison.images, 'image')} is {standard:.2%} within chance"


def _print(report: Report) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("engine")
    table.add_column("precision")
    for heading in ("images", "max |Δp|", "top-1 same", "ms/image", "threads"):
        table.add_column(heading, justify="right")
    for comparison in (*report.comparisons, *(comparison for comparison, _ in report.int8)):
        table.add_row(
            f"{comparison.engine} {comparison.engine_version}",
            comparison.precision
            if comparison.device == CPU
            else f"{comparison.precision} on {comparison.device}",
            str(comparison.images),
            f"{comparison.max_abs_diff:.1e}",
            f"{comparison.top1_agreement:.2%}",
            f"{comparison.latency_ms:.2f}",
            str(comparison.threads),
        )
    console().print(table)
    if report.not_compared:
        print_line(f"not compared: {'; '.join(map(str, report.not_compared))}")
    if report.failed is None:
        whose = "PyTorch's" if report.has_reference else "PyTorch's at export"
        within = f"within {report.tolerance:g} of {whose}"
        say(f"verified: probabilities {within}, the same top-1 on all")
    for comparison, standard in report.int8:
        if comparison.meets(standard):
            say(_kept(comparison, standard))
