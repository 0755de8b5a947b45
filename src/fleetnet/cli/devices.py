"""``fleetnet devices``: where a network can go, and how good it is there."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from fleetnet.amounts import size
from fleetnet.cli.console import Steps, console, print_json, print_line, progress, say, warn
from fleetnet.cli.judging import LabelledOption, MaxLossOption, MetricOption, share_of
from fleetnet.cli.opening import open_bundle
from fleetnet.cli.sources import open_told, with_source_options
from fleetnet.data.sources import SourceOptions
from fleetnet.errors import FleetnetError
from fleetnet.export.devices import Device, chosen, measure, measured
from fleetnet.inference.judging import lost
from fleetnet.inference.metric import TOP1


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("devices", short_help="List the export targets, measured.")(devices)


@with_source_options
def devices(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Whose figures to show: anything that names one."),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="TARGET[:PRECISION]", help="Only this one; may be repeated.  [all]"
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Convert MODEL and measure; without --target, to all that need nothing fetched.",
        ),
    ] = False,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Verify with these files, folders or globs.  [made-up pictures]",
        ),
    ] = None,
    data: LabelledOption = None,
    max_loss: MaxLossOption = None,
    metric: MetricOption = TOP1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """List every format that 'fleetnet export --to' writes.

    With a model, its figures: agreement with the trained network, size, and the time of an image on
    one thread of this machine, as 'devices MODEL --verify' measured them.
    """
    words = targets or []
    if model is None:
        if verify or images or data:
            raise FleetnetError(
                "--verify, --images and --data need a model: fleetnet devices MODEL"
            )
        found = [Device(target, precision) for target, precision in chosen(words)]
    else:
        bundle = open_bundle(model)
        if verify:
            labelled = None if data is None else open_told(data, source)
            from fleetnet.export.shown import Allowed

            allowed = Allowed(metric, share_of(max_loss))
            with progress(unit="") as bar:
                found = list(
                    measure(
                        bundle,
                        words,
                        images=images or [],
                        data=labelled,
                        allowed=allowed,
                        say=say,
                        begin=Steps(bar),
                    )
                )
        else:
            found = list(measured(bundle, words))
    if as_json:
        print_json([device.to_json() for device in found])
        return
    _print(found, with_figures=model is not None)
    if model is None:
        print_line("next: fleetnet devices MODEL --verify")


def _print(found: list[Device], *, with_figures: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("target", no_wrap=True)
    if with_figures:
        for heading in ("images", "max |Δp|", "top-1 same", "lost", "size", "ms/image"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("")
    else:
        table.add_column("for")
        table.add_column("converted")
    for device in found:
        if with_figures:
            table.add_row(device.word, *_figures(device), _where(device))
        else:
            table.add_row(device.word, device.target.title, device.state)
    console().print(table)
    for device in found:
        if device.refused:
            warn(f"{device.word}: {device.refused}")


def _figures(device: Device) -> list[str]:
    record = device.record
    volume = "–" if device.bytes is None else size(device.bytes)
    if record is None:
        return ["–", "–", "–", "–", volume, "–"]
    return [
        str(record.images),
        f"{record.max_abs_diff:.1e}",
        f"{record.top1_agreement:.1%}",
        lost(record.judgement),
        volume,
        "–" if device.latency_ms is None else f"{device.latency_ms:.2f}",
    ]


def _where(device: Device) -> str:
    if device.refused:
        return "refused"
    if device.record is not None:
        return f"{device.record.engine} {device.record.engine_version}"
    if device.bytes is not None:
        return "not run here"
    return "" if device.state == "here" else device.state
