"""``fleetnet tune``: the fastest way to compute a bundle's answers on this machine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fleetnet.amounts import count
from fleetnet.bundle import Bundle
from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    say,
    status,
    warn,
    warn_left_out,
    warn_unreadable,
)
from fleetnet.cli.judging import (
    ENOUGH_LABELLED,
    LabelledOption,
    MaxLossOption,
    MetricOption,
    check_metric,
    judge_by,
    labelled_source,
    read_labelled,
)
from fleetnet.cli.opening import open_bundle
from fleetnet.cli.options import ModelArgument
from fleetnet.cli.sources import with_source_options
from fleetnet.data.sources import SourceOptions
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.engines import ENGINES, Pixels, check_names
from fleetnet.inference.judging import judged_by, lost
from fleetnet.inference.metric import TOP1
from fleetnet.inference.trials import MIN_IMAGES
from fleetnet.inference.tuning import BUDGET_S, Tuning
from fleetnet.inference.tuning_cache import ENOUGH
from fleetnet.inference.tuning_results import BOTH, modes_of, tune_modes
from fleetnet.inference.verify import prepare
from fleetnet.left_out import LeftOut


def _but_slow() -> str:
    """Return which engines are tried only by name."""
    slow = [name for name, kind in ENGINES.items() if not kind.unasked]
    return (
        f" but {', '.join(slow)}, {'it is' if len(slow) == 1 else 'they are'} slow" if slow else ""
    )


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tune", short_help="Find the fastest engine for a bundle, here.")(tune)


@with_source_options
def tune(
    model: ModelArgument,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Real images: files, folders or globs; may be repeated.",
        ),
    ] = None,
    data: LabelledOption = None,
    max_loss: MaxLossOption = None,
    metric: MetricOption = TOP1,
    mode: Annotated[
        str,
        typer.Option("--mode", help="latency (one image soon), throughput (many a second), both."),
    ] = BOTH,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help=f"Try this one; may be repeated.  [all{_but_slow()}]",
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help="Try this one: cpu, gpu, npu, cuda or another; may be repeated.  "
            "[all that are found]",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Compute with so many.  [tries several]")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Compare answers on at most so many images.  [{ENOUGH}; with labels "
            f"{ENOUGH_LABELLED}]",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="Time for the measurement of each mode.")
    ] = BUDGET_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Measure every engine, device, precision and number of threads with this bundle, here.

    Candidates that lose more than is allowed against fp32 are out, however fast: by the labels of
    --data, or without labels by how sure fp32 was of each answer that changed. The choice is
    remembered for --engine auto.
    """
    modes = modes_of(mode)
    check_names(engine or ())
    images = images or []
    labelled = labelled_source(model, images, data, source)
    check_given(images)
    opened = open_bundle(model, images)
    check_metric(opened.manifest, metric)
    if labelled is None:
        judge = judge_by(opened.manifest, None, metric, max_loss)
        pixels = _unlabelled(opened, images, limit or ENOUGH)
    else:
        shown = read_labelled(opened, labelled, limit or ENOUGH_LABELLED)
        judge = judge_by(opened.manifest, shown.labels, metric, max_loss)
        pixels = shown.pixels
    if len(pixels) < MIN_IMAGES:
        are = "is" if len(pixels) == 1 else "are"
        warn(
            f"{count(len(pixels), 'image')} {are} too few to compare precisions below fp32, and "
            f"the choice is not remembered: give {MIN_IMAGES} or more"
        )
    results = tune_modes(
        opened,
        pixels,
        modes,
        engines=engine,
        on=device,
        threads=threads,
        budget=seconds,
        judge=judge,
        showing=status,
    )
    if as_json:
        print_json(results.to_json())
        return
    for tuning, choice in zip(results.tunings, results.choices, strict=True):
        _print(tuning)
        say(f"{tuning.mode}: {choice}")


def _unlabelled(bundle: Bundle, images: list[str], limit: int) -> Pixels:
    left_out = LeftOut()
    unreadable: list[str] = []
    pixels = prepare(find_images(images, left_out), bundle.manifest.preprocess, limit, unreadable)
    warn_left_out(left_out)
    warn_unreadable(unreadable)
    return pixels


def _print(tuning: Tuning) -> None:
    """Print a row for each that was timed, and below why others are out: 80 columns hold both."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(tuning.mode, no_wrap=True)
    for heading in ("threads", "batch", "ms/image", "quartiles", "top-1", "lost"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for rank, trial in enumerate(tuning.trials):
        candidate, found = trial.candidate, trial.agreement
        if not trial.milliseconds:
            continue
        low, high = trial.quartiles
        table.add_row(
            candidate.what,
            str(candidate.threads),
            str(candidate.batch),
            f"{trial.median:.2f}",
            f"{low:.2f}–{high:.2f}",
            f"{found.top1:.1%}" if found else "–",
            lost(trial.verdict.judgement if trial.verdict else None),
            "out" if trial.reason else "← chosen" if rank == 0 else "",
            style="dim" if trial.reason else "",
        )
    console().print(table)
    judgements = [trial.verdict.judgement for trial in tuning.trials if trial.verdict]
    if judgements:
        ways = " or ".join(dict.fromkeys(map(judged_by, judgements)))
        print_line(f"lost: points of {ways}, with its bound at 95% confidence")
    for trial in tuning.trials:
        if trial.reason:
            print_line(f"out: {trial.candidate}: {trial.reason}")
