"""Whether fewer bits lose more than is allowed, as far as that can be told without labels.

A judge is given the answers in fp32 and in fewer bits, and says what the difference costs. The one
with labels is in :mod:`fleetnet.evaluation.labelled_judge`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.bundle import Activation, Judgement, Manifest
from fleetnet.errors import FleetnetError
from fleetnet.inference.agreement import same_answers
from fleetnet.inference.binomial import at_least, explained_by_chance
from fleetnet.inference.engines import Logits
from fleetnet.inference.metric import (
    ACCURACY,
    EXACT_MATCH,
    RECALL,
    ROC_AUC,
    TOP1,
    Metric,
    titled,
)
from fleetnet.inference.probabilities import to_probabilities

MAX_LOSS = 0.005
"""Share of the metric that fewer bits may lose by default: half a point of top-1."""
CONFIDENCE_Z = 1.6448536269514722
"""The normal distribution's 95 % quantile: each bound holds with that confidence."""
LEAST_SAME = 0.9
"""Share of the answers that have to be the same without labels, however unsure fp32 is: all
answers of a network that has learnt nothing would cost nothing."""
LABELS, CONFIDENCE, AGREEMENT = "labels", "confidence", "agreement"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """A judgement, and what follows from it.

    Attributes:
        judgement: what was lost, and what was allowed.
        passed: whether that is shown to be within what is allowed.
        refuted: whether it is shown to be beyond; if neither, the images do not decide.
        note: what else to know of how it was judged, in a line; empty if nothing.
    """

    judgement: Judgement
    passed: bool
    refuted: bool
    note: str = ""

    def __str__(self) -> str:
        """Return it in words, see :func:`sentence`, with the note."""
        return "; ".join(filter(None, (sentence(self.judgement), self.note)))

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values, None for what is no number."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in self.judgement.model_dump(mode="json").items()
        }
        return {**values, "passed": self.passed, "refuted": self.refuted, "note": self.note or None}


class Judge(Protocol):
    """Says what an engine's answers lose."""

    def judge(self, expected: Logits, found: Logits) -> Verdict:
        """Compare logits in fp32 with those in fewer bits, ``float32[N, K]`` each."""
        ...


@dataclass(frozen=True)
class AgreementJudge:
    """Wants the same answer on a share of the images, however unsure fp32 was of the others.

    The images are a sample: a network that agrees on exactly that share of all images agrees on
    less in half of all samples. It is refuted only if so many other answers would come about by
    chance less than once in a hundred times.

    Attributes:
        wanted: the share.
        activation: of the network.
    """

    wanted: float
    activation: Activation = "softmax"

    def judge(self, expected: Logits, found: Logits) -> Verdict:
        """Count the images with another answer."""
        images = len(expected)
        same = same_answers(expected, found, self.activation, boundary=0)
        different = round((1 - same) * images)
        judgement = Judgement(
            metric=AGREEMENT,
            judged_by=AGREEMENT,
            images=images,
            loss=1 - same,
            low=1 - _at_most(images, different),
            high=1 - at_least(images, different),
            allowed=min(max(1 - self.wanted, 0.0), 1.0),
        )
        by_chance = explained_by_chance(images, different, 1 - self.wanted)
        return Verdict(judgement, same >= self.wanted, not by_chance)


def _at_most(images: int, different: int) -> float:
    """Return an upper bound for the share of the same answers, with 95 % confidence."""
    return 1 - at_least(images, images - different)


@dataclass(frozen=True)
class ConfidenceJudge:
    """Weights each answer that changed by how sure fp32 was of its own.

    If an image gets the answer ``b`` instead of ``a``, the metric is expected to lose the
    probability of ``a`` less that of ``b``, both in fp32: nearly nothing where fp32 hardly
    preferred ``a``, a whole image where it was sure. So far as the probabilities in fp32 are
    right, that is the expected loss; where they are too sure of themselves it is less than that.

    Attributes:
        metric: of what; not ``roc_auc``.
        allowed: the largest loss that passes, as a share.
        activation: of the network.
        temperature: by which its logits are divided.
    """

    metric: Metric = ACCURACY
    allowed: float = MAX_LOSS
    activation: Activation = "softmax"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what takes labels.

        Raises:
            FleetnetError: the metric does.
        """
        if self.metric.name == ROC_AUC:
            raise FleetnetError(
                f"{self.metric.title} takes labelled images: give some, data=", arguments=["data"]
            )

    def judge(self, expected: Logits, found: Logits) -> Verdict:
        """Estimate the loss, with a bound from its spread over the images."""
        lost, weight = self._losses(expected, found)
        loss, error = _ratio(lost, weight)
        judgement = Judgement(
            metric=self.metric.name,
            of_class=self.metric.class_name,
            judged_by=CONFIDENCE,
            images=len(expected),
            loss=loss,
            low=loss - CONFIDENCE_Z * error,
            high=loss + CONFIDENCE_Z * error,
            allowed=self.allowed,
        )
        same = same_answers(expected, found, self.activation, boundary=0)
        different = round((1 - same) * len(expected))
        enough = explained_by_chance(len(expected), different, 1 - LEAST_SAME)
        # Written so that NaN passes nothing.
        return Verdict(
            judgement,
            judgement.high <= self.allowed and same >= LEAST_SAME,
            not judgement.low <= self.allowed or not enough,
            "" if same >= LEAST_SAME else f"only {same:.1%} of the answers are the same",
        )

    def _losses(self, expected: Logits, found: Logits) -> tuple[Floats, Floats]:
        """Return what each image is expected to lose, and what it counts, ``float64[N]`` each."""
        shares = to_probabilities(expected, self.activation, self.temperature).astype(np.float64)
        of_class = self.metric.name == RECALL
        weight = shares[:, self.metric.index] if of_class else np.ones(len(shares))
        before, after = (self._right(shares, logits) for logits in (expected, found))
        # Answers that are not numbers are never right.
        return before - after * np.isfinite(found).all(1), weight

    def _right(self, shares: Floats, logits: Logits) -> Floats:
        """Return the probability in fp32 that the answers of ``logits`` are right."""
        if self.metric.name == EXACT_MATCH:
            return np.asarray(np.where(logits >= 0, shares, 1 - shares).prod(1))
        if self.metric.name == RECALL:
            return says_class(logits, self.metric, self.activation) * shares[:, self.metric.index]
        return np.asarray(np.take_along_axis(shares, logits.argmax(1)[:, None], 1)[:, 0])


def says_class(logits: Logits, metric: Metric, activation: Activation) -> npt.NDArray[np.bool_]:
    """Return which answers are, or hold, the class that a metric is of, ``bool[N]``."""
    if activation == "sigmoid":
        return np.asarray(logits[:, metric.index] >= 0)
    return np.asarray(logits.argmax(1) == metric.index)


def _ratio(values: Floats, weight: Floats) -> tuple[float, float]:
    """Return the sum of values by the sum of weights, with its standard error."""
    ratio = float(values.sum() / weight.sum())
    if len(values) < 2:
        return ratio, math.inf
    spread = (values - ratio * weight).std(ddof=1) / weight.mean()
    return ratio, float(spread / math.sqrt(len(values)))


def confidence_judge(
    manifest: Manifest, metric: str | Metric = TOP1, max_loss: float = MAX_LOSS
) -> ConfidenceJudge:
    """Return what judges a network's fewer bits where there are no labels.

    Args:
        manifest: the network's.
        metric: what may be lost, or the word that names it.
        max_loss: the largest loss that passes, as a share.

    Raises:
        FleetnetError: there is no such metric, or it takes labels.
    """
    activation = manifest.model.activation
    if isinstance(metric, str):
        metric = Metric.of(metric, manifest.classes, activation)
    return ConfidenceJudge(metric, max_loss, activation, manifest.temperature)


def judge_without_labels(judgement: Judgement, manifest: Manifest) -> Judge:
    """Return the judge that repeats a bundle's judgement on images without labels."""
    metric = Metric.judged(judgement, manifest.classes, manifest.model.activation)
    known = TOP1 if metric.name == ROC_AUC else metric
    return confidence_judge(manifest, known, judgement.allowed)


def points(share: float) -> str:
    """Return a share as points of a hundred, for people."""
    return f"{100 * share:.2f}"


def lost(judgement: Judgement | None) -> str:
    """Return for tables what was lost, in points, and what it is below with 95 % confidence."""
    if judgement is None:
        return "–"
    return f"{points(judgement.loss)}<{points(judgement.high)}"


def judged_by(judgement: Judgement | None) -> str:
    """Return for tables what was judged, and by what."""
    if judgement is None:
        return "–"
    if judgement.judged_by == AGREEMENT:
        return AGREEMENT
    return f"{titled(judgement.metric, judgement.of_class)} by {judgement.judged_by}"


def on_record(judgement: Judgement | None, engine: str, precision: str) -> str:
    """Return in words what is on record of what an engine loses in fewer bits than fp32."""
    if judgement is None:
        return f"what {engine} loses in {precision} is not on record: 'fleetnet tune' judges it"
    return f"on record: {engine} in {precision} {sentence(judgement)}"


def sentence(judgement: Judgement) -> str:
    """Return a judgement in words, without what is said of it."""
    images = count(judgement.images, "image")
    if judgement.judged_by == AGREEMENT:
        same, wanted = 1 - judgement.loss, 1 - judgement.allowed
        return f"gives the same answer on {same:.2%} of {images}, {wanted:.2%} are wanted"
    what = titled(judgement.metric, judgement.of_class)
    figures = (
        f"{points(judgement.loss)} points of {what}, below {points(judgement.high)} with 95% "
        f"confidence, {points(judgement.allowed)} allowed"
    )
    if judgement.judged_by == CONFIDENCE:
        return f"is expected to lose {figures}, by how sure fp32 is on {images}"
    return f"loses {figures}, by the labels of {images}"
