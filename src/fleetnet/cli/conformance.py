"""``fleetnet conformance``: does this host give the answers required of every host?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fleetnet.cli.console import console, print_json, print_line, say
from fleetnet.cli.opening import open_bundle
from fleetnet.cli.options import MODEL_HELP
from fleetnet.conformance.bundles import BundleCheck, check_bundle
from fleetnet.conformance.check import Check, Difference, check_installation
from fleetnet.conformance.files import ConformanceSet
from fleetnet.conformance.report import BundlesReport, InstallationReport
from fleetnet.errors import FleetnetError
from fleetnet.inference.judging import on_record
from fleetnet.native import COMPILED

SHOWN = 20
"""How many differences are shown: if a library differs, there are hundreds."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("conformance", short_help="Compare this installation with the conformance set.")(
        conformance
    )


def conformance(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help=f"What to check on the pictures. {MODEL_HELP}"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--set", metavar="FOLDER", help="Another set than Fleetnet's.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="DIR", help="Write the set there instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Compare the answers here with those of the conformance set, which every host has to give.

    Without MODEL: the pixels and refusals of its pictures, and the answers of its own network in
    every installed engine. With MODEL: whether that one's preprocessing and engines agree here on
    the set's pictures.
    """
    if write is not None:
        if models or folder or as_json:
            raise FleetnetError("--write goes with no MODEL and no other option")
        _write(write)
        return
    found = ConformanceSet.load(folder)
    if models:
        _check_bundles(found, models, as_json=as_json)
    else:
        _check_installation(found, as_json=as_json)


def _write(folder: Path) -> None:
    from fleetnet.conformance.write import write_set

    written = write_set(folder)
    print_line(f"{folder}: {len(written.description.pictures)} pictures")


def _check_installation(found: ConformanceSet, *, as_json: bool) -> None:
    report = InstallationReport(found, list(check_installation(found)))
    if as_json:
        print_json(report.to_json())
    else:
        console().print(_table(report.checks))
    if report.failure:
        _say_all(report.differences)
        raise report.failure
    if not COMPILED:
        say("the C core is not compiled here: the reference in Python answers instead")
    if not as_json:
        say("conforms: every answer is the conformance set's")


def _check_bundles(found: ConformanceSet, models: Iterable[str], *, as_json: bool) -> None:
    checked: list[tuple[str, BundleCheck]] = []
    for model in models:
        checked.append((model, check_bundle(found, open_bundle(model))))
        if not as_json:
            _print_bundle(*checked[-1])
    report = BundlesReport(found, checked)
    if as_json:
        print_json(report.to_json())
    failures = report.failures
    if failures:
        for differences in report.differences:
            _say_all(differences)
        for failure in failures[1:]:
            say(f"differs: {failure}")
        raise failures[0]


def _say_all(differences: Sequence[Difference]) -> None:
    for difference in differences[:SHOWN]:
        say(f"differs: {difference}")
    if len(differences) > SHOWN:
        say(f"… and {len(differences) - SHOWN} more")


def _table(checks: Iterable[Check]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what")
    for heading in ("answers", "different", "max |Δ|"):
        table.add_column(heading, justify="right")
    for check in checks:
        largest = "" if check.max_abs_diff is None else f"{check.max_abs_diff:.1e}"
        table.add_row(check.name, str(check.answers), str(len(check.differences)), largest)
    return table


def _print_bundle(model: str, check: BundleCheck) -> None:
    print_line(
        f"{model}: {check.inputs.answers} inputs, {len(check.inputs.differences)} different; "
        f"engines compared with {check.reference} in fp32"
    )
    if not check.comparisons:
        say("no other engine is installed to compare with; see fleetnet verify")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("engine")
    table.add_column("precision")
    for heading in ("pictures", "max |Δp|", "top-1 same", "passes"):
        table.add_column(heading, justify="right")
    for comparison in check.comparisons:
        required = comparison.precision == "fp32"
        table.add_row(
            f"{comparison.engine} {comparison.engine_version}",
            comparison.precision,
            str(comparison.images),
            f"{comparison.max_abs_diff:.1e}",
            f"{comparison.top1_agreement:.2%}",
            ("yes" if check.allows(comparison) else "no") if required else "not required",
        )
    console().print(table)
    for comparison, judgement in zip(check.comparisons, check.on_record, strict=True):
        if comparison.precision != "fp32":
            print_line(on_record(judgement, comparison.engine, comparison.precision))
