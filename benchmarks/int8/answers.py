"""What a trained network answers in fp32 and in int8, on the images that it was not trained on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.data.sources import Source
from fleetnet.errors import VerificationError
from fleetnet.evaluation.labelled_images import labelled_judge
from fleetnet.evaluation.losses import Labels
from fleetnet.export.bundle import export_bundle
from fleetnet.export.finetune.images import training_images
from fleetnet.export.finetune.run import Data, finetune
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.finetuned import Finetuned
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.samples import Samples, draw_labelled_samples
from fleetnet.export.quantize.session import WeightBits
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Logits, open_engine
from fleetnet.inference.judging import AgreementJudge, Judge, Verdict
from fleetnet.models.network import measure_structure
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.weights.subject import LAST

WANTED = 0.99
ALL = 10**6
"""More held-out images than there are: all of them judge."""


@dataclass
class Recorded:
    """A judge of agreement that remembers what it was shown.

    Attributes:
        labels: of the images, ``int64[N]``.
        loss: by labels, as ``fleetnet quantize`` judges if it is asked for nothing.
        shown: of each network, in the order in which they were made.
    """

    labels: Labels
    loss: Judge
    shown: list[dict[str, float]] = field(default_factory=list)

    def judge(self, expected: Logits, found: Logits) -> Verdict:
        """Want the same answers, and note how many there were, and how many of them are right."""
        verdict = AgreementJudge(WANTED).judge(expected, found)
        self.shown.append(
            {
                "agreement": float((expected.argmax(1) == found.argmax(1)).mean()),
                "top1": float((found.argmax(1) == self.labels).mean()),
                "rms": float(np.sqrt(np.square(found - expected).mean())),
                "passes_loss": float(self.loss.judge(expected, found).passed),
            }
        )
        return verdict


def exported(run: Path, place: Path, source: Source, engines: Sequence[str]) -> dict[str, Any]:
    """Export a network, and return what it gets right in fp32 in each engine.

    Args:
        run: of its training.
        place: of the bundle, which is made anew.
        source: what it was trained on.
        engines: to ask.
    """
    checkpoint = Checkpoint.load(run / LAST)
    bundle = export_bundle(run / LAST, place)
    samples = _samples(source, bundle)
    structure = measure_structure(checkpoint.network(), size=bundle.manifest.preprocess.crop)
    fp32 = {}
    for name in engines:
        with open_engine(name, bundle, 1, precision="fp32") as engine:
            logits = run_in_batches(engine, samples.validation)
        fp32[f"{name}/fp32"] = {"top1": float((logits.argmax(1) == samples.labels).mean())}
    return {
        "trained_top1": float(checkpoint.history[-1]["top1"]),
        "images": len(samples.validation),
        "macs": structure.macs,
        "fp32": fp32,
        "int8": {},
    }


def finetuned(bundle: Path, source: Source, bits: WeightBits, epochs: int) -> Finetuned:
    """Fine-tune a network for int8 on the images that it was trained on.

    Args:
        bundle: with the network in fp32.
        source: what it was trained on.
        bits: of the weights.
        epochs: how often each image is seen.
    """
    opened = Bundle.load(bundle)
    samples = _samples(source, opened)
    indices = training_images(source, opened, samples, lambda *_: lambda _: None)
    data = Data(source, indices)
    return finetune(opened, data, samples.calibration, epochs=epochs, weight_bits=bits)


def quantized(
    bundle: Path,
    place: Path,
    source: Source,
    engine: str,
    bits: WeightBits,
    learnt: Finetuned | None = None,
) -> dict[str, Any]:
    """Quantise a network, and return what it answers with all of its layers in int8.

    Args:
        bundle: the network in fp32.
        place: of the one that also has it in int8; what other engines have there stays.
        source: what it was trained on.
        engine: to quantise for.
        bits: of the weights.
        learnt: what is quantised in place of the bundle's network.

    Returns:
        ``agreement``, ``top1``, ``rms`` of the logits' differences, and ``passes_loss``, of the
        network with no layer kept: of all recipes the one with the most answers that are the same.
        ``kept`` is how many layers stay in fp32 in the network that was written, with 99 % of the
        answers, of ``layers``; if there is none, ``refused`` is the reason.
    """
    if not place.exists():
        shutil.copytree(bundle, place)
    opened = Bundle.load(place)
    samples = _samples(source, opened)
    judge = Recorded(_labels(samples), labelled_judge(_labels(samples), opened.manifest))
    found: dict[str, Any]
    try:
        _, (result,) = quantize_bundle(
            opened,
            samples,
            str(source),
            engines=[engine],
            judge=judge,
            weight_bits=bits,
            finetuned=learnt,
        )
        how = result.quantization
        found = {"kept": len(how.kept_layers), "layers": how.layers, "tool": how.tool}
    except VerificationError as error:
        found = {"refused": str(error)}
    # The first ones have no layer in fp32: one for each recipe, up to one that passes.
    kind = QUANTIZERS.find(engine)
    trained = 1 if learnt is not None and kind.trained else 0
    whole = judge.shown[: trained + len(kind.recipes)]
    passing = [at for at, one in enumerate(whole) if one["agreement"] >= WANTED]
    if passing:
        whole = whole[: passing[0] + 1]
    return {**max(whole, key=lambda one: one["agreement"]), **found}


def _labels(samples: Samples) -> Labels:
    assert samples.labels is not None  # noqa: S101 - for the type checker
    return samples.labels


def _samples(source: Source, bundle: Bundle) -> Samples:
    samples, _ = draw_labelled_samples(source, bundle, validation=ALL)
    return samples
