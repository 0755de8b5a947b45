"""``fleetnet verify``: does this bundle still answer as the trained network did, here?"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fleetnet.amounts import count
from fleetnet.bundle import Bundle
from fleetnet.cli.bundles import open_bundle
from fleetnet.cli.console import console, print_json, say, warn_left_out, warn_unreadable
from fleetnet.cli.options import ModelArgument
from fleetnet.errors import FleetnetError, VerificationError
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.engines import (
    Engine,
    Precision,
    installed_engines,
    open_engine,
    precisions,
)
from fleetnet.inference.verify import (
    BATCH,
    TOLERANCE,
    Comparison,
    Pixels,
    prepare,
    verify_bundle,
    verify_quantized,
)
from fleetnet.left_out import LeftOut

if TYPE_CHECKING:
    from fleetnet.export.divergence import Divergence


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Compare every installed engine with the trained network, on this machine.

    The reference is the network in PyTorch; where PyTorch is not installed, the answers that it
    gave at export to made-up images which the bundle records. What the bundle has in int8 has to
    give the same answers as often as it was quantised for; fewer by chance do not count.
    """
    check_given(images)
    opened = open_bundle(model, images)
    for artifact in opened.manifest.artifacts:
        opened.artifact(artifact.name)  # checks the hash
    left_out = LeftOut()
    unreadable: list[str] = []
    paths = find_images(images, left_out)
    pixels = prepare(paths, opened.manifest.preprocess, limit, unreadable)
    warn_left_out(left_out)
    warn_unreadable(unreadable)
    with contextlib.ExitStack() as stack:

        def open_one(name: str, precision: Precision = "fp32") -> Engine:
            return stack.enter_context(open_engine(name, opened, threads, precision=precision))

        installed = installed_engines()
        reference = open_one("torch") if "torch" in installed else None
        if reference is None:
            say("PyTorch is not installed: comparing with the answers recorded at export")
        engines = [open_one(name) for name in installed if not name.startswith("torch")]
        comparisons = list(verify_bundle(opened, engines, pixels, reference))
        quantized = [
            open_one(engine.name, "int8")
            for engine in engines
            if "int8" in precisions(engine.name, opened)
        ]
        judged = list(verify_quantized(opened, quantized, pixels, reference or engines[0]))
    passed = all(comparison.passes(tolerance) for comparison in comparisons)
    kept = all(comparison.meets(standard) for comparison, standard in judged)
    if as_json:
        print_json(_as_json(comparisons, judged, reference, tolerance, passed and kept))
    else:
        _print([*comparisons, *(comparison for comparison, _ in judged)])
        if passed:
            whose = "PyTorch's" if reference else "PyTorch's at export"
            say(f"verified: probabilities within {tolerance:g} of {whose}, the same top-1 on all")
        for comparison, standard in judged:
            if comparison.meets(standard):
                say(_kept(comparison, standard))
    if not passed:
        raise _failure(opened, comparisons, tolerance, pixels, reference)
    for comparison, standard in judged:
        if not comparison.meets(standard):
            raise _broken(comparison, standard)


def _kept(comparison: Comparison, standard: float) -> str:
    same = f"{comparison.engine} in int8: the same answer on {comparison.agreement:.2%}"
    if comparison.agreement >= standard:
        return f"{same}, {standard:.2%} are wanted"
    return f"{same}, which of {count(comparison.images, 'image')} is {standard:.2%} within chance"


def _broken(comparison: Comparison, standard: float) -> FleetnetError:
    return VerificationError(
        f"{comparison.engine} in int8 gives the trained network's answer on "
        f"{comparison.agreement:.2%} of {count(comparison.images, 'image')}, too few for "
        f"{standard:.2%}: use --precision fp32 here, or quantise with images like these"
    )


def _as_json(
    comparisons: list[Comparison],
    judged: list[tuple[Comparison, float]],
    reference: Engine | None,
    tolerance: float,
    passed: bool,
) -> dict[str, Any]:
    return {
        "passed": passed,
        "tolerance": tolerance,
        "reference": "torch" if reference else "self_test",
        "engines": [vars(comparison) for comparison in comparisons],
        "int8": [
            {
                **vars(comparison),
                "required_agreement": standard,
                "passed": comparison.meets(standard),
                "reference": "torch" if reference else "fp32",
            }
            for comparison, standard in judged
        ],
    }


def _print(comparisons: list[Comparison]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("engine")
    table.add_column("precision")
    for heading in ("images", "max |Δp|", "top-1 same", "ms/image", "threads"):
        table.add_column(heading, justify="right")
    for comparison in comparisons:
        table.add_row(
            f"{comparison.engine} {comparison.engine_version}",
            comparison.precision,
            str(comparison.images),
            f"{comparison.max_abs_diff:.1e}",
            f"{comparison.top1_agreement:.2%}",
            f"{comparison.latency_ms:.2f}",
            str(comparison.threads),
        )
    console().print(table)


def _failure(
    bundle: Bundle,
    comparisons: list[Comparison],
    tolerance: float,
    pixels: Pixels,
    reference: Engine | None,
) -> FleetnetError:
    worst = next(comparison for comparison in comparisons if not comparison.passes(tolerance))
    summary = (
        f"{worst.engine} differs from the trained network by up to {worst.max_abs_diff:.2g} "
        f"(allowed: {tolerance:g}), top-1 agrees on {worst.top1_agreement:.2%}"
    )
    if reference is None:
        return VerificationError(summary)
    try:
        from fleetnet.export.divergence import first_divergence
    except ModuleNotFoundError:
        return VerificationError(f"{summary} (install fleetnet[export] to learn in which layer)")
    from fleetnet.inference.engines.torch import load_network

    layer: Divergence | None = first_divergence(
        bundle.artifact("onnx").read_bytes(),
        worst.engine,
        load_network(bundle),
        bundle.manifest.preprocess,
        pixels[:BATCH],
    )
    where = f"first in layer '{layer.layer}'" if layer else "in no single layer"
    return VerificationError(f"{summary}, {where}")
