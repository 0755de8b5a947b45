"""``fleetnet models``: the networks, as published and as computed here."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table

from fleetnet.amounts import percent
from fleetnet.cli.console import console, print_json
from fleetnet.models.figures import figures_of
from fleetnet.models.registry import NAMES


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("models", short_help="List the networks and their figures.")(models)


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead.")] = False,
) -> None:
    """List the networks with every published figure beside what is computed here.

    Multiply-adds count as one operation each: a published figure that counts two is halved.
    """
    rows = [figures_of(name) for name in NAMES]
    if as_json:
        print_json(rows)
        return
    _print_accuracy(rows)
    _print_speed([row for row in rows if row["published"]])


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
        "document's params include batch-norm statistics, its GMACs element-wise work.\n"
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
