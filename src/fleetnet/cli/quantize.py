"""``fleetnet quantize``: a bundle's network in int8 beside the one in fp32."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.progress import Progress
from rich.table import Table

from fleetnet.amounts import count
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.cli.console import console, print_json, print_line, progress, say, warn, warn_left_out
from fleetnet.cli.opening import open_bundle, warn_passed_over
from fleetnet.cli.options import ModelArgument
from fleetnet.errors import require_all
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.binomial import at_least, enough_to_show
from fleetnet.inference.verify import AGREEMENT
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Advance
from fleetnet.text import either

if TYPE_CHECKING:
    from fleetnet.export.quantize.samples import Samples
    from fleetnet.export.quantize.session import Result, WeightBits

NEEDS = ("onnx", "onnxruntime", "nncf")
"""Modules that quantising needs."""


def _all() -> str:
    return "both" if len(QUANTIZERS) == 2 else "all"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("quantize", short_help="Add int8, as accurate as asked for.")(quantize)


def quantize(
    model: ModelArgument,
    images: Annotated[
        list[str],
        typer.Option(
            "--images",
            metavar="PATH",
            help="Real images, not trained on: files, folders or globs; may be repeated.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make.  [in place]")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help=f"{either(QUANTIZERS)}; may be repeated.  [{_all()}]",
        ),
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the validation images that must get the same answer."
        ),
    ] = AGREEMENT,
    calibration: Annotated[
        int, typer.Option(min=10, help="Calibrate with at most so many images.")
    ] = 300,
    validation: Annotated[
        int,
        typer.Option("--judging", min=30, help="Validate with at most so many others."),
    ] = 1000,
    weight_bits: Annotated[
        int,
        typer.Option(
            min=7, max=8, help="7 is exact on every processor, 8 only with VNNI and on Arm."
        ),
    ] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Add the network in int8 to a bundle, for OpenVINO and for ONNX Runtime.

    Some of the images are for calibration, the others for validation. If too many answers differ,
    the most sensitive layers stay in fp32; if that does not help either, nothing is written.
    """
    require_all(NEEDS, "quantize", "quantize")
    from fleetnet.export.quantize.bundle import check_engines, check_request, quantize_bundle
    from fleetnet.export.quantize.samples import draw_samples

    engines = tuple(dict.fromkeys(engine or QUANTIZERS))
    check_engines(engines)
    check_given(images)
    opened = open_bundle(model, images)
    check_request(opened, output, engines, agreement)
    older = output is not None and (output / MANIFEST).is_file()
    warn_passed_over(opened)
    left_out = LeftOut()
    paths = list(find_images(images, left_out))
    warn_left_out(left_out)
    with progress(unit="") as bar:
        begin = _Steps(bar)
        samples = draw_samples(
            paths,
            opened.manifest.preprocess,
            calibration,
            validation,
            begin("reading images", min(len(paths), calibration + validation)),
            trained_images_of(opened),
        )
        _tell(samples, agreement)
        written, results = quantize_bundle(
            opened,
            samples,
            printable(", ".join(Path(image).name or image for image in images)),
            output=output,
            engines=engines,
            agreement=agreement,
            weight_bits=cast("WeightBits", weight_bits),
            begin=begin,
        )
    if older:
        say(f"{output} replaces the bundle that was there")
    if as_json:
        print_json(_as_json(written, samples, results))
        return
    _print(results)
    for result in results:
        _print_notes(result)
    print_line(f"written: {written.path}")


class _Steps:
    """A progress bar of one step after another."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def __call__(self, what: str, steps: int) -> Advance:
        self._bar.reset(self._task, description=what, total=steps)
        return lambda done: self._bar.advance(self._task, done)


def _tell(samples: Samples, agreement: float) -> None:
    validation = len(samples.validation)
    say(
        f"{len(samples.calibration)} calibration images, {validation} validation images"
        + (f"; {samples.repeated} repetitions left out" if samples.repeated else "")
    )
    if samples.unreadable:
        were = "was" if samples.unreadable == 1 else "were"
        warn(f"{count(samples.unreadable, 'image')} could not be read and {were} left out")
    if samples.trained_on:
        warn(
            f"the network was trained on {samples.trained_on} of the {validation} validation "
            "images: int8 agrees more often on those than on new images"
        )
    enough = enough_to_show(agreement)
    if agreement < 1 and validation < enough:
        warn(
            f"{validation} images cannot show that {agreement:.2%} of all agree, even if they all "
            f"do: that takes {enough}"
        )


def _as_json(written: Bundle, samples: Samples, results: list[Result]) -> dict[str, Any]:
    return {
        "bundle": str(written.path),
        "calibration_images": len(samples.calibration),
        "judging_images": len(samples.validation),
        "unreadable": samples.unreadable,
        "repeated": samples.repeated,
        "engines": [
            {
                **asdict(result.comparison),
                **result.quantization.model_dump(mode="json"),
                "agreement": result.comparison.agreement,
                "agreement_at_least": _at_least(result),
                "required_agreement": result.quantization.agreement,
                "bytes_before": result.bytes_before,
                "bytes_after": result.bytes_after,
                "latency_ms": result.latency_ms,
                "faster": result.faster,
                "attempts": result.attempts,
            }
            for result in results
        ],
    }


def _at_least(result: Result) -> float:
    return at_least(result.comparison.images, result.comparison.different)


def _print(results: list[Result]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("engine")
    offered = list(dict.fromkeys(name for result in results for name in result.latency_ms))
    for heading in ("images", "same answer", "surely", "mean |Δp|", "layers kept", "MB", "→ int8"):
        table.add_column(heading, justify="right")
    for name in offered:
        table.add_column(f"ms {name}", justify="right")
    for result in results:
        times = result.latency_ms
        table.add_row(
            result.comparison.engine,
            str(result.comparison.images),
            f"{result.comparison.agreement:.2%}",
            f"{_at_least(result):.2%}",
            f"{result.comparison.mean_abs_diff:.4f}",
            f"{len(result.quantization.kept_layers)} of {result.quantization.layers}",
            f"{result.bytes_before / 1e6:.2f}",
            f"{result.bytes_after / 1e6:.2f}",
            *(f"{times[name]:.2f}" if name in times else "–" for name in offered),
        )
    console().print(table)


def _print_notes(result: Result) -> None:
    out = console()
    engine, kept = result.comparison.engine, result.quantization.kept_layers
    if kept:
        out.print(
            f"{engine}: in fp32, with {result.quantization.kept_macs:.0%} of the multiply-adds: "
            + ", ".join(kept)
        )
    if result.faster:
        best = result.faster[0]
        times = result.latency_ms
        print_line(
            f"{engine}: int8 is slower than {best} on this machine, {times['int8']:.2f} ms against "
            f"{times[best]:.2f} ms an image on one thread: prefer --precision {best} here"
        )
