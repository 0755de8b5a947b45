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


def exported(
    checkpoint: Path, place: Path, source: Source, engines: Sequence[str]
) -> dict[str, Any]:
    """Export a network, and count what it gets right in fp32.

    Args:
        checkpoint: that training left.
        place: of the bundle, which is made anew.
        source: what it was trained on.
        engines: to ask.

    Returns:
        ``answers`` by ``ENGINE/fp32``, and what else is known of the network.
    """
    bundle = export_bundle(checkpoint, place)
    samples, _ = draw_labelled_samples(source, bundle, validation=ALL)
    return {
        "model": bundle.manifest.model.name,
        "trained_top1": float(Checkpoint.load(checkpoint).history[-1]["top1"]),
        "images": len(samples.validation),
        "answers": {f"{name}/fp32": _figures(bundle, samples, name, "fp32") for name in engines},
        "kept": {},
        "refused": {},
    }


def in_int8(place: Path, source: Source, engine: str, found: dict[str, Any]) -> None:
    """Add a network in int8 to its bundle, and what it gets right to its figures.

    Args:
        place: of the bundle.
        source: what it was trained on.
        engine: to quantise for.
        found: what :func:`exported` returned. Its ``kept`` gets how many layers the guard kept in
            fp32, of how many; its ``refused`` the reason, where nothing passes.
    """
    bundle = Bundle.load(place)
    samples, part = draw_labelled_samples(source, bundle, validation=ALL)
    assert samples.labels is not None  # noqa: S101 - for the type checker
    judge = labelled_judge(samples.labels, bundle.manifest)
    try:
        bundle, (result,) = quantize_bundle(bundle, samples, part, engines=[engine], judge=judge)
    except VerificationError as error:
        found["refused"][engine] = str(error)
        return
    how = result.quantization
    found["answers"][f"{engine}/int8"] = _figures(bundle, samples, engine, "int8")
    found["kept"][engine] = [len(how.kept_layers), how.layers]


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
