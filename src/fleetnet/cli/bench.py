"""``fleetnet bench``: how fast are these networks on this machine, and what do they cost?"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import rich.table
import typer

from fleetnet.benchmark.everything import measure_everything
from fleetnet.benchmark.machine import Machine, load_average, this_machine
from fleetnet.benchmark.measured import measured_file
from fleetnet.benchmark.networks import find_subjects
from fleetnet.benchmark.plan import BUDGET, QUICK_BUDGET, make_plan
from fleetnet.benchmark.report import check_output, write_report
from fleetnet.benchmark.run import Stage, run_benchmark
from fleetnet.benchmark.tables import Table, tables
from fleetnet.cli.console import console, print_json, progress, say, warn
from fleetnet.cli.options import DeviceOption
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import CPU, DEFAULT_ENGINE, ENGINES, check_names
from fleetnet.labels import printable
from fleetnet.text import either

if TYPE_CHECKING:
    from fleetnet.benchmark.results import Results
    from fleetnet.inference.engines import Precision


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bench", short_help="Measure speed, memory and size.")(bench)


def bench(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="What to measure: trained networks as elsewhere, or networks by name, of any "
            "weights.  [the twelve published]",
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help=f"{either(ENGINES)}; may be repeated.  [{DEFAULT_ENGINE}]",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            metavar="PRECISION",
            help="fp32, bf16, fp16 or int8; may be repeated.  [all that the engine offers]",
        ),
    ] = None,
    device: DeviceOption = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            help="May be repeated.  [1, 2, 4, as there are processors]",
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            "--batch", metavar="N", min=1, help="Images at once; may be repeated.  [1, 4, 8]"
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(help="Pixels a side, of networks by name; a bundle has its own.")
    ] = 224,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write JSON, Markdown and pictures to this folder."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help=f"Seconds of timing.  [{BUDGET:g}, quick {QUICK_BUDGET:g}]"),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Every network with a published accuracy, at batch 1, remembered for 'fleetnet "
            "models --plot' and '--best'; goes on where it was interrupted.",
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the most threads, and batches of 1 and 8.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure latency, throughput, memory, start-up and size of networks on this machine.

    Networks by name are built for the purpose, with random weights: how long they take depends on
    their shapes. Everything is timed in turns, so that the machine's noise hits all alike.
    """
    load = load_average()  # measured before this program computes anything
    if everything:
        others = (networks, engine, precision, device, threads, batch, output, budget, quick)
        if any(others) or size != 224:
            raise FleetnetError("--all measures everything in one way: give nothing but --json")
        _measure_everything(load, as_json=as_json)
        return
    if output is not None:
        check_output(output)
    check_names(engine or (), precision or ())
    with _stages() as stage:
        subjects = find_subjects(
            networks or [],
            size,
            lambda done, total: stage("preparing networks", done, total),
            say,
        )
        plan = make_plan(
            subjects,
            engines=engine or (),
            asked_precisions=cast("list[Precision]", precision or ()),
            threads=threads or (),
            batches=batch or (),
            budget=budget,
            quick=quick,
            device=CPU if device is None else device,
        )
        machine = this_machine(plan.engines, load)
        _warn_if_busy(machine)
        results = run_benchmark(subjects, plan, machine=machine, stage=stage, warn=warn)
    if as_json:
        print_json(results.to_json())
    else:
        _print(results)
    if output is not None:
        for file in write_report(results, output, warn):
            say(f"written: {file}")
    if shutil.which("nvidia-smi"):
        say("there may be a CUDA device here: python benchmarks/gpu/run.py measures on it")


def _measure_everything(load: float | None, *, as_json: bool) -> None:
    machine = this_machine([DEFAULT_ENGINE], load)
    _warn_if_busy(machine)
    with _stages() as stage:
        found = measure_everything(machine, stage=stage, say=say, warn=warn)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
    say(f"remembered: {measured_file()}")


def _warn_if_busy(machine: Machine) -> None:
    if machine.busy:
        warn(
            f"other programs are computing (load {machine.load:.1f} on {machine.processors} "
            "processors): figures will be worse than this machine's"
        )


@contextmanager
def _stages() -> Iterator[Stage]:
    """Show a bar for each stage on standard error, where that is a terminal."""
    with progress(unit="") as bars:
        shown: dict[str, object] = {}

        def stage(what: str, done: float, total: float) -> None:
            if what not in shown:
                for task in bars.task_ids:
                    bars.remove_task(task)
                shown.clear()
                shown[what] = bars.add_task(what, total=round(total))
            bars.update(bars.task_ids[-1], completed=round(done))

        yield stage


def _print(results: Results) -> None:
    out = console()
    for table in tables(results):
        out.print(_rich(table))
        for note in table.notes:
            out.print(note, style="dim")
        out.print()


def _rich(table: Table) -> rich.table.Table:
    shown = rich.table.Table(
        title=table.title,
        title_style="bold",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for number, heading in enumerate(table.headings):
        shown.add_column(heading, justify="right" if number else "left", no_wrap=number > 0)
    for name, *cells in table.rows:
        shown.add_row(printable(name), *cells)
    return shown
