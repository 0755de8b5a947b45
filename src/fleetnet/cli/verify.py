"""``fleetnet verify``: does this bundle still answer as the trained network did, here?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fleetnet.bundle import Bundle
from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    say,
    warn_left_out,
    warn_unreadable,
)
from fleetnet.cli.given_images import are_shards, given_images
from fleetnet.cli.judging import (
    ENOUGH_LABELLED,
    LabelledOption,
    labelled_source,
    read_labelled,
)
from fleetnet.cli.opening import open_bundle
from fleetnet.cli.options import DeviceOption, ModelArgument
from fleetnet.cli.sources import with_source_options
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.evaluation.labelled_images import judge_again
from fleetnet.export.verification_failure import failure_of
from fleetnet.image_files import check_given
from fleetnet.inference.comparison import Comparison, judged
from fleetnet.inference.engines import CPU, Pixels
from fleetnet.inference.judging import judge_without_labels, lost, sentence
from fleetnet.inference.verification import Report, stands, verify_here
from fleetnet.inference.verify import TOLERANCE, JudgeOf, prepare
from fleetnet.left_out import LeftOut

LIMIT = 256
"""How many images without labels."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify", short_help="Compare engines with the trained network.")(verify)


@with_source_options
def verify(
    model: ModelArgument,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Real images: files, folders, globs or shards; may be repeated.",
        ),
    ] = None,
    data: LabelledOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"At most this many images.  [{LIMIT}; with labels {ENOUGH_LABELLED}]"
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of a probability to allow.")
    ] = TOLERANCE,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 1,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Compare every installed engine that has the device with the trained network, here.

    The reference is the network in PyTorch; where PyTorch is not installed, the answers that it
    gave at export to made-up images which the bundle records. In int8, and on a device without
    fp32, the judgement that the bundle records is repeated, by labels if there are any; without a
    record, 99 % of the answers have to be the same. It fails if these images show that more is
    lost.
    """
    images = images or []
    labelled = labelled_source(model, images, data, source)
    loose = [image for image in images if not are_shards(image)]
    check_given(loose)
    opened = open_bundle(model, loose)
    for artifact in opened.artifacts:
        opened.files_of(artifact)  # checks the hashes
    pixels, judge_of = _to_compare(opened, images, labelled, limit)
    report = verify_here(
        opened,
        pixels,
        tolerance=tolerance,
        threads=threads,
        device=CPU if device is None else device,
        judge_of=judge_of,
        say=say,
    )
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    failure = failure_of(opened, report, pixels)
    if failure:
        raise failure


def _to_compare(
    bundle: Bundle, images: list[str], source: Source | None, limit: int | None
) -> tuple[Pixels, JudgeOf]:
    """Return the images to compare on, and what repeats a judgement on them."""
    if source is not None:
        labelled = read_labelled(bundle, source, limit or ENOUGH_LABELLED)
        return labelled.pixels, judge_again(labelled.labels)
    left_out = LeftOut()
    unreadable: list[str] = []
    paths = given_images(images, left_out)
    pixels = prepare(paths, bundle.manifest.preprocess, limit or LIMIT, unreadable)
    warn_left_out(left_out)
    warn_unreadable(unreadable)
    return pixels, judge_without_labels


def _kept(comparison: Comparison) -> str:
    verdict = judged(comparison)
    note = f" ({verdict.note})" if verdict.note else ""
    more = "" if verdict.passed else ", which these images neither show nor refute"
    said = sentence(verdict.judgement)
    return f"{comparison.engine} in {comparison.precision}: {said}{more}{note}"


def _print(report: Report) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("engine")
    table.add_column("precision")
    # In 80 columns.
    compared = ("same", "lost") if report.fewer_bits else ("top-1 same",)
    for heading in ("images", "max |Δp|", *compared, "ms/image", "threads"):
        table.add_column(heading, justify="right")
    for comparison in (*report.comparisons, *report.fewer_bits):
        table.add_row(
            f"{comparison.engine} {comparison.engine_version}",
            comparison.precision
            if comparison.device == CPU
            else f"{comparison.precision} on {comparison.device}",
            str(comparison.images),
            f"{comparison.max_abs_diff:.1e}",
            f"{comparison.top1_agreement:.2%}",
            *(
                [lost(comparison.verdict.judgement if comparison.verdict else None)]
                if report.fewer_bits
                else []
            ),
            f"{comparison.latency_ms:.2f}",
            str(comparison.threads),
        )
    console().print(table)
    if report.not_compared:
        print_line(f"not compared: {'; '.join(map(str, report.not_compared))}")
    if report.comparisons and report.failed is None:
        whose = "PyTorch's" if report.has_reference else "PyTorch's at export"
        within = f"within {report.tolerance:g} of {whose}"
        say(f"verified: probabilities {within}, the same top-1 on all")
    for comparison in report.fewer_bits:
        if stands(comparison):
            say(_kept(comparison))
