"""How many held-out images a network gets right, in fp32 and in int8, as engines compute it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.data.sources import Source
from fleetnet.errors import VerificationError
from fleetnet.evaluation.labelled_images import labelled_judge
from fleetnet.evaluation.ranking import RankedScores
from fleetnet.export.bundle import export_bundle
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.samples import Samples, draw_labelled_samples
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Logits, Precision, open_engine
from fleetnet.training.checkpoint import Checkpoint

ALL = 10**6
"""More held-out images than there are: all of them judge."""


def answered(
    checkpoint: Path, place: Path, source: Source, engines: Sequence[str]
) -> dict[str, Any]:
    """Export a network, add int8 for each engine, and count what each gets right.

    Args:
        checkpoint: that training left.
        place: of the bundle, which is made anew.
        source: what it was trained on.
        engines: to ask.

    Returns:
        ``answers`` by ``ENGINE/PRECISION``, ``kept`` and ``refused`` by engine.
    """
    bundle = export_bundle(checkpoint, place)
    samples, part = draw_labelled_samples(source, bundle, validation=ALL)
    assert samples.labels is not None  # noqa: S101 - for the type checker
    judge = labelled_judge(samples.labels, bundle.manifest)
    kept: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for engine in engines:
        try:
            bundle, (result,) = quantize_bundle(
                bundle, samples, part, engines=[engine], judge=judge
            )
        except VerificationError as error:
            refused[engine] = str(error)
        else:
            how = result.quantization
            kept[engine] = [len(how.kept_layers), how.layers]
    asked: list[tuple[str, Precision]] = [(engine, "fp32") for engine in engines]
    asked += [(engine, "int8") for engine in kept]
    answers = {f"{name}/{precision}": _figures(bundle, samples, name, precision)
               for name, precision in asked}  # fmt: skip
    return {
        "model": bundle.manifest.model.name,
        "trained_top1": float(Checkpoint.load(checkpoint).history[-1]["top1"]),
        "images": len(samples.validation),
        "answers": answers,
        "kept": kept,
        "refused": refused,
    }


def _figures(bundle: Bundle, samples: Samples, name: str, precision: Precision) -> dict[str, float]:
    with open_engine(name, bundle, 1, precision=precision) as engine:
        logits = run_in_batches(engine, samples.validation)
    labels = np.asarray(samples.labels)
    found = {"top1": float((logits.argmax(1) == labels).mean())}
    if logits.shape[1] == 2:
        found["roc_auc"] = _auc(logits, labels == 1)
    return found


def _auc(logits: Logits, positives: Any) -> float:
    return float(RankedScores(logits[:, 1] - logits[:, 0], positives).roc_auc())
