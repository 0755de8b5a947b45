"""``fleetnet models``: the networks, as published and as computed here."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fleetnet.amounts import percent
from fleetnet.cli.console import console, print_json, print_line, say, warn
from fleetnet.errors import FleetnetError, require_all
from fleetnet.inference.engines import DEFAULT_ENGINE
from fleetnet.models.figures import figures_of
from fleetnet.models.registry import NAMES

if TYPE_CHECKING:
    from fleetnet.benchmark.choice import Choice
    from fleetnet.benchmark.machine import Machine
    from fleetnet.benchmark.measured import Measurement


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("models", short_help="List the networks and their figures.")(models)


def models(
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw accuracy over all that a network costs.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The picture's file, a PNG.  [networks.png]"),
    ] = None,
    best: Annotated[
        bool,
        typer.Option("--best", help="Say which network is the most accurate within a budget."),
    ] = False,
    latency: Annotated[
        str | None, typer.Option(metavar="TIME", help="For --best: at most, such as 5ms.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="For --best: of its files, such as 5MB.")
    ] = None,
    macs: Annotated[
        str | None, typer.Option(metavar="COUNT", help="For --best: multiply-adds, such as 100M.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="PRECISION", help="For --best: that it computes in.  [fp32]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead.")] = False,
) -> None:
    """List the networks with every published figure beside what is computed here.

    Multiply-adds count as one operation each: a published figure that counts two is halved. --plot
    and --best know how fast each is on this machine once 'fleetnet bench --all' has measured.
    """
    limits = {"latency": latency, "size": size, "macs": macs, "precision": precision}
    _refuse_what_does_not_fit(limits, output, plot=plot, best=best, as_json=as_json)
    if plot:
        _plot(output or Path("networks.png"))
        return
    if best:
        _best(limits, as_json=as_json)
        return
    rows = [figures_of(name) for name in NAMES]
    if as_json:
        print_json(rows)
        return
    _print_accuracy(rows)
    _print_speed([row for row in rows if row["published"]])


def _refuse_what_does_not_fit(
    limits: dict[str, str | None], output: Path | None, *, plot: bool, best: bool, as_json: bool
) -> None:
    if plot and (best or as_json):
        raise FleetnetError(f"--plot draws a picture: leave --{'best' if best else 'json'} out")
    if output is not None and not plot:
        raise FleetnetError("--output is where --plot puts its picture: give --plot too")
    asked = [name for name, value in limits.items() if value is not None]
    if asked and not best:
        raise FleetnetError(f"--{asked[0]} is a budget for --best: give --best too")
    if best and not set(asked) - {"precision"}:
        raise FleetnetError(
            "--best needs a budget: give --latency 5ms, --size 5MB or --macs 100M, or several"
        )


def _plot(path: Path) -> None:
    require_all(["matplotlib"], "report", "drawing the networks")
    from fleetnet.benchmark.machine import this_machine
    from fleetnet.benchmark.measured import read_measured
    from fleetnet.benchmark.picture import draw_picture

    machine = this_machine([DEFAULT_ENGINE])
    measured = read_measured(machine)
    if not measured:
        warn("nothing was measured on this machine yet: 'fleetnet bench --all' does that")
    _warn_of_a_part(measured)
    draw_picture(measured, path, machine.line if measured else "")
    say(f"written: {path}")


def _warn_of_a_part(measured: Sequence[Measurement]) -> None:
    """Warn where some networks have no figures, because measuring is under way or was stopped."""
    from fleetnet.benchmark.choice import candidates

    found, every = {one.model for one in measured}, {one.model for one in candidates()}
    if found and every - found:
        warn(
            f"{len(every & found)} of {len(every)} networks were measured here: 'fleetnet bench "
            "--all' goes on"
        )


def _best(limits: dict[str, str | None], *, as_json: bool) -> None:
    from fleetnet.benchmark.choice import UNITS, Budget, amount, choices
    from fleetnet.benchmark.machine import this_machine
    from fleetnet.benchmark.measured import read_measured

    budget = Budget(
        **{kind: amount(text, kind) for kind in UNITS if (text := limits[kind]) is not None}
    )
    machine = this_machine([DEFAULT_ENGINE])
    measured = read_measured(machine)
    if not measured:
        raise FleetnetError(
            "nothing was measured on this machine yet, with these versions: 'fleetnet bench --all' "
            "does that"
        )
    _warn_of_a_part(measured)
    precision = limits["precision"] or PUBLISHED_IN
    known = dict.fromkeys(one.precision for one in measured)
    if precision not in known:
        raise FleetnetError(f"nothing was measured in '{precision}' (there is: {', '.join(known)})")
    found = choices(measured, budget, precision)
    if not found:
        raise FleetnetError("no network that was measured here is within that budget")
    if as_json:
        print_json([_choice_json(one) for one in found])
        return
    _print_choices(found[:_SHOWN], machine)


PUBLISHED_IN = "fp32"
"""The precision of every published accuracy."""
_SHOWN = 5
"""How many networks within a budget are printed."""


def _choice_json(choice: Choice) -> dict[str, Any]:
    candidate, measurement = choice.candidate, choice.measurement
    return {
        "name": candidate.name,
        "top1": candidate.top1,
        "top1_precision": PUBLISHED_IN,
        "source": candidate.source,
        **dataclasses.asdict(measurement),
    }


def _print_choices(found: list[Choice], machine: Machine) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in ("top-1\n%", "p50\nms", "threads\n", "files\nMB", "GMACs\n", "size\npx"):
        table.add_column(heading, justify="right")
    for one in found:
        measurement = one.measurement
        table.add_row(
            one.candidate.name,
            percent(one.candidate.top1),
            f"{measurement.p50 * 1e3:.2f}",
            str(measurement.threads),
            f"{measurement.bytes / 1e6:.1f}",
            f"{measurement.macs / 1e9:.3f}",
            str(measurement.size),
        )
    out = console()
    out.print(table)
    first = found[0].measurement
    out.print(
        f"The first is the most accurate as published ({found[0].candidate.source}). Latency is of "
        f"batch 1, {first.engine} {first.precision}, measured here: {machine.line}",
        style="dim",
    )
    if first.precision != PUBLISHED_IN:
        print_line(
            f"top-1 is that of {PUBLISHED_IN}, as published: what {first.precision} loses of it is "
            "not in this table; 'fleetnet tune' judges that of a bundle"
        )


def _print_accuracy(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in (
        "top-1\n%",
        "top-5\n%",
        "ref.\ntop-1",
        "ref.\ntop-5",
        "params\nM",
        "publ.\nM",
        "GMACs\n",
        "publ.\nGMACs",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        computed, figures = row["computed"], row["published"] or {}
        table.add_row(
            row["name"],
            *(
                percent(figures.get(key))
                for key in ("top1", "top5", "reference_top1", "reference_top5")
            ),
            f"{computed['params'] / 1e6:.3f}",
            _number(figures.get("mparams")),
            f"{computed['multiply_adds'] / 1e9:.3f}",
            _number(figures.get("gmacs")),
        )
    out = console()
    out.print(table)
    out.print(
        f"params and GMACs (multiply-adds, one operation each; {_sizes(rows)}, 1000 classes) are "
        "computed here; top-1, top-5, ref. and publ. are the documents' figures. The MobileNetV2 "
        "document counts two operations a multiply-add: its figures are halved here. The ReXNet "
        "document's params include batch-norm statistics, its GMACs and PP-LCNet's element-wise "
        "work.\n"
    )


def _sizes(rows: list[dict[str, Any]]) -> str:
    """Return the usual size of the images, and which networks have another."""
    usual = Counter(row["size"] for row in rows).most_common(1)[0][0]
    others = [f"{row['name']} {row['size']}" for row in rows if row["size"] != usual]
    return f"{usual}×{usual}" + (f", but {', '.join(others)}" if others else "")


def _print_speed(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("published speed", no_wrap=True)
    headings = [f"SD855 ms\n{n} thread{'s' * (n > 1)}" for n in (1, 2, 4)]
    headings += [f"V100 ms\nbatch {n}" for n in (1, 4, 8)]
    for heading in [*headings, "storage\nMB"]:
        table.add_column(heading, justify="right")
    for row in rows:
        figures = row["published"]
        times = [*figures.get("sd855_ms", [None] * 3), *figures.get("v100_ms", [None] * 3)]
        cells = ["–" if time is None else f"{time:.2f}" for time in times]
        storage = figures.get("storage_mb")
        table.add_row(row["name"], *cells, "–" if storage is None else f"{storage:.1f}")
    out = console()
    out.print(table)
    sources = dict.fromkeys(row["published"]["source"] for row in rows)
    out.print(f"sources: {'; '.join(sources)}. V100: FP32, TensorRT. SD855: batch 1.")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
