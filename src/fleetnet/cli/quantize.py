"""``fleetnet quantize``: a bundle's network in int8 beside the one in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from fleetnet.amounts import count
from fleetnet.bundle import MANIFEST, Bundle, Judgement
from fleetnet.cli.console import (
    Steps,
    console,
    print_json,
    print_line,
    progress,
    say,
    warn,
    warn_left_out,
    warn_unreadable,
)
from fleetnet.cli.judging import (
    LabelledOption,
    MaxLossOption,
    MetricOption,
    check_metric,
    check_standard,
    judge_by,
    labelled_source,
)
from fleetnet.cli.opening import open_bundle, warn_passed_over
from fleetnet.cli.options import ModelArgument
from fleetnet.cli.sources import open_told, with_source_options
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.errors import PYTORCH, DataError, FleetnetError, needing, require_all
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.image_files import check_given, find_images
from fleetnet.inference.comparison import judged
from fleetnet.inference.judging import lost, sentence
from fleetnet.inference.metric import TOP1
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Note
from fleetnet.text import either

if TYPE_CHECKING:
    from fleetnet.export.quantize.finetuned import Finetuned
    from fleetnet.export.quantize.samples import Samples
    from fleetnet.export.quantize.session import Result, WeightBits

NEEDS = ("onnx", "onnxruntime", "nncf")
"""Modules that quantising needs."""


def _all() -> str:
    return "both" if len(QUANTIZERS) == 2 else "all"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("quantize", short_help="Add int8, as accurate as asked for.")(quantize)


@with_source_options
def quantize(
    model: ModelArgument,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Real images, not trained on: files, folders or globs; may be repeated. Beside "
            "--data they only calibrate.",
        ),
    ] = None,
    data: LabelledOption = None,
    max_loss: MaxLossOption = None,
    metric: MetricOption = TOP1,
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="DATA",
            help="Images to fine-tune on before, towards the answers in fp32: labelled data, or a "
            "folder of any images.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="To fine-tune for, with --train.  [3]")
    ] = None,
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
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Instead, want the same answer on this share of the validation images.",
        ),
    ] = None,
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
    *,
    source: SourceOptions,
) -> None:
    """Add the network in int8 to a bundle, for OpenVINO and for ONNX Runtime.

    Some of the images are for calibration, the others for validation: what int8 loses there is
    counted by the labels of --data, or without labels by how sure fp32 was of each answer that
    changed. If that is too much, the most sensitive layers stay in fp32; if that does not help
    either, nothing is written. With --train, weights first learn to answer in int8 as in fp32.
    """
    require_all(NEEDS, "quantize", "quantize")
    from fleetnet.export.quantize.bundle import check_engines, check_request, quantize_bundle
    from fleetnet.export.quantize.report import QuantizationReport
    from fleetnet.export.quantize.samples import draw_labelled_samples, draw_samples

    engines = tuple(dict.fromkeys(engine or QUANTIZERS))
    images = images or []
    check_engines(engines)
    labelled = labelled_source(model, images, data, source)
    check_given(images)
    check_standard(agreement, max_loss, metric)
    if epochs is not None and train is None:
        raise FleetnetError(
            "epochs= says how long to fine-tune: on which images, train=",
            arguments=["epochs", "train"],
        )
    opened = open_bundle(model, images)
    check_request(opened, output, engines, agreement)
    check_metric(opened.manifest, metric)
    if labelled is None and agreement is None:
        judge_by(opened.manifest, None, metric, max_loss)  # refuses what takes labels
    older = output is not None and (output / MANIFEST).is_file()
    warn_passed_over(opened)
    left_out = LeftOut()
    paths = list(find_images(images, left_out))
    warn_left_out(left_out)
    learnt = None if train is None else _images_to_learn(train, opened, source)
    with progress(unit="") as bar:
        begin = Steps(bar)
        if labelled is None:
            samples = draw_samples(
                paths,
                opened.manifest.preprocess,
                calibration,
                validation,
                begin("reading images", min(len(paths), calibration + validation)),
                trained_images_of(opened),
            )
            part = printable(", ".join(Path(image).name or image for image in images))
        else:
            samples, part = draw_labelled_samples(
                labelled,
                opened,
                calibration,
                validation,
                begin("reading images", min(len(labelled.samples), calibration + validation)),
                paths,
            )
        say(samples.summary)
        for doubt in samples.doubts(agreement):
            warn(doubt)
        written, results = quantize_bundle(
            opened,
            samples,
            part,
            output=output,
            engines=engines,
            agreement=agreement,
            judge=None
            if agreement is not None
            else judge_by(opened.manifest, samples.labels, metric, max_loss),
            weight_bits=cast("WeightBits", weight_bits),
            finetuned=None
            if learnt is None
            else _finetuned(opened, learnt, samples, epochs, weight_bits, begin),
            begin=begin,
        )
    if older:
        say(f"{output} replaces the bundle that was there")
    if as_json:
        print_json(QuantizationReport(written, samples, results).to_json())
        return
    _print(results)
    for result in results:
        _print_notes(result)
    if written.manifest.rejection is not None:
        print_line(
            "the threshold of rejection was chosen in fp32: 'fleetnet reject' says what it does in "
            "int8"
        )
    print_line(f"written: {written.path}")


def _images_to_learn(train: str, bundle: Bundle, options: SourceOptions) -> Source:
    """Open images to fine-tune on: a folder without class folders has some too."""
    with needing(PYTORCH, "train", "fine-tuning"):
        from fleetnet.export.finetune.images import loose_images
    try:
        return open_told(train, options)
    except DataError as error:
        if not Path(train).is_dir():
            raise
        unlabelled = f"fine-tuning takes any image below {train}, which is no labelled data: "
        say(Note.of(error, f"{unlabelled}{error}"))
    left_out = LeftOut()
    source = loose_images(Path(train), bundle, left_out)
    warn_left_out(left_out)
    return source


def _finetuned(
    bundle: Bundle,
    source: Source,
    samples: Samples,
    epochs: int | None,
    weight_bits: int,
    begin: Steps,
) -> Finetuned:
    from fleetnet.export.finetune.images import training_images
    from fleetnet.export.finetune.run import EPOCHS, Data, finetune

    indices = training_images(source, bundle, samples, begin)
    say(f"fine-tuning on {count(len(indices), 'image')} of {source.description}")
    made = finetune(
        bundle,
        Data(source, indices),
        samples.calibration,
        epochs=epochs or EPOCHS,
        weight_bits=weight_bits,
        begin=begin,
        say=say,
    )
    warn_unreadable(made.unreadable)
    return made


def _print(results: list[Result]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("engine")
    offered = list(dict.fromkeys(name for result in results for name in result.latency_ms))
    for heading in ("images", "same answer", "lost", "mean |Δp|", "layers kept", "MB", "→ int8"):
        table.add_column(heading, justify="right")
    for name in offered:
        table.add_column(f"ms {name}", justify="right")
    for result in results:
        times = result.latency_ms
        table.add_row(
            result.comparison.engine,
            str(result.comparison.images),
            f"{result.comparison.agreement:.2%}",
            lost(judged(result.comparison).judgement),
            f"{result.comparison.mean_abs_diff:.4f}",
            f"{len(result.quantization.kept_layers)} of {result.quantization.layers}",
            f"{result.bytes_before / 1e6:.2f}",
            f"{result.bytes_after / 1e6:.2f}",
            *(f"{times[name]:.2f}" if name in times else "–" for name in offered),
        )
    console().print(table)


def _beside(judgement: Judgement) -> str:
    """Return what else labels say, for people; empty where there are none."""
    before, after = judgement.fp32, judgement.found
    if before is None or after is None:
        return ""
    pairs = [f"{before:.2%} in fp32, {after:.2%} in int8"]
    for name, in_fp32, in_int8 in (
        ("NLL", judgement.fp32_nll, judgement.nll),
        ("ECE", judgement.fp32_ece, judgement.ece),
    ):
        if in_fp32 is not None and in_int8 is not None:
            pairs.append(f"{name} {in_fp32:.4f} and {in_int8:.4f}")
    return f"; {'; '.join(pairs)}"


def _print_notes(result: Result) -> None:
    out = console()
    engine, kept = result.comparison.engine, result.quantization.kept_layers
    verdict = judged(result.comparison)
    if verdict.note:
        print_line(f"{engine}: {verdict.note}")
    print_line(f"{engine}: {sentence(verdict.judgement)}{_beside(verdict.judgement)}")
    print_line(f"{engine}: by {result.quantization.tool}")
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
