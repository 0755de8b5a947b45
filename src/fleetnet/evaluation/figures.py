"""All figures of an evaluation, for printing, JSON and the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import share as as_share
from fleetnet.evaluation.bootstrap import (
    LEVEL,
    Interval,
    Statistic,
    class_means,
    intervals,
    mean_of,
)
from fleetnet.evaluation.calibration import Reliability, reliability
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.losses import losses
from fleetnet.evaluation.metrics import (
    ClassFigures,
    Metrics,
    mean_over,
    plain,
    predicted_classes,
    ranks_of,
)
from fleetnet.evaluation.ranking import Curves, RankedScores, one_vs_rest
from fleetnet.evaluation.temperature import TemperatureFit, cross_fit

RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """A figure over all images.

    Attributes:
        key: its name in JSON.
        title: its name for people.
        value: NaN if it is undefined.
        interval: its confidence interval, if it has one.
        share: whether it is shown as a percentage.
    """

    key: str
    title: str
    value: float
    interval: Interval | None = None
    share: bool = True

    def text(self) -> str:
        """Return the value as text for people."""
        return _shown(self.value, share=self.share)

    def range_text(self) -> str:
        """Return the interval as text for people, empty if there is none."""
        if self.interval is None:
            return ""
        low, high = (_shown(value, share=self.share) for value in self.interval)
        return f"{low.removesuffix('%')} – {high}"


def _shown(value: float, *, share: bool) -> str:
    if not np.isfinite(value):
        return "–"
    return as_share(value) if share else f"{value:.4f}"


@dataclass(frozen=True)
class Figures:
    """All figures of an evaluation.

    Attributes:
        headline: figures over all images, the most important first.
        classes: a row for each class, JSON values.
        right: which images were answered right, ``bool[N]``: the most probable class or, for
            multi-label data, every class.
        nll: negative logarithm of the probability of each image's truth, ``float64[N]``.
        reliability: accuracy by probability.
        temperature: the effect of temperature scaling.
        curves: ROC and precision-recall for two classes, of which the second is the positive.
        counts: the counts and tables for this kind of data, JSON values.
        seed, resamples: of the bootstrap.
    """

    headline: tuple[Figure, ...]
    classes: list[dict[str, Any]]
    right: npt.NDArray[np.bool_]
    nll: npt.NDArray[np.float64]
    reliability: Reliability
    temperature: TemperatureFit | None
    curves: Curves | None
    counts: dict[str, Any]
    resamples: int
    seed: int

    def __getitem__(self, key: str) -> Figure:
        """Return the headline figure called ``key``."""
        return next(figure for figure in self.headline if figure.key == key)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; None where a figure is undefined."""
        return {
            **self.counts,
            **{figure.key: plain(figure.value) for figure in self.headline},
            "per_class": self.classes,
            "reliability": self.reliability.to_json(),
            "temperature": self.temperature.to_json() if self.temperature else None,
            "intervals": {
                "level": LEVEL,
                "method": "percentile bootstrap over images",
                "resamples": self.resamples,
                "seed": self.seed,
                **{f.key: list(f.interval) for f in self.headline if f.interval},
            },
        }


def summarise(evaluation: Evaluation, *, resamples: int = RESAMPLES, seed: int = 0) -> Figures:
    """Compute all figures of an evaluation.

    Args:
        evaluation: the answers.
        resamples: of the bootstrap; 0 for no confidence intervals.
        seed: of the bootstrap and of the halves that the temperature is cross-fitted on.
    """
    of_kind = _multi_label if evaluation.multi_label else _single_label
    return of_kind(evaluation, resamples, seed)


def _single_label(evaluation: Evaluation, resamples: int, seed: int) -> Figures:
    metrics, logits = evaluation.metrics, evaluation.served_logits()
    labels, classes = evaluation.labels.astype(np.int64), len(evaluation.classes)
    lost = losses(logits, labels)
    per_class = metrics.per_class()
    predicted = predicted_classes(logits)
    balanced, macro_f1 = class_means(labels, predicted, classes)
    statistics: dict[str, Statistic] = {
        "top1": mean_of(predicted == labels),
        "top5": mean_of(ranks_of(logits, labels) < 5),
        "balanced_accuracy": balanced,
        "macro_f1": macro_f1,
        "nll": mean_of(lost.nll),
        "brier": mean_of(lost.brier),
    }
    ranked = None
    if classes == 2:
        # With two classes the difference of the logits ranks images as the probability does.
        ranked = RankedScores(logits[:, 1].astype(np.float64) - logits[:, 0], labels == 1)
        statistics |= {"roc_auc": ranked.roc_auc, "average_precision": ranked.average_precision}
    drawn = intervals(statistics, len(labels), resamples, seed)
    bins = reliability(lost.confidence, lost.right)
    headline = (
        *_accuracy_figures(metrics, per_class, drawn),
        *_ranking_figures(evaluation, ranked, drawn),
        Figure("ece", "ECE", bins.ece),
        Figure("nll", "NLL", float(lost.nll.mean()), drawn.get("nll"), share=False),
        Figure("brier", "Brier score", float(lost.brier.mean()), drawn.get("brier"), share=False),
    )
    return Figures(
        headline=headline,
        classes=per_class.rows(evaluation.classes),
        right=predicted == labels,
        nll=lost.nll,
        reliability=bins,
        temperature=cross_fit(logits, labels, seed),
        curves=ranked.curves() if ranked else None,
        counts=metrics.to_json(),
        resamples=resamples,
        seed=seed,
    )


def _accuracy_figures(
    metrics: Metrics, per_class: ClassFigures, drawn: dict[str, Interval]
) -> list[Figure]:
    """Return the figures that count right answers; top-5 only of more than five classes."""
    top5 = Figure("top5", "top-5", metrics.top5, drawn.get("top5"))
    return [
        Figure("top1", "top-1", metrics.top1, drawn.get("top1")),
        *([top5] if len(metrics.classes) > 5 else []),
        Figure(
            "balanced_accuracy",
            "balanced accuracy",
            per_class.macro_recall,
            drawn.get("balanced_accuracy"),
        ),
        Figure("macro_precision", "macro precision", per_class.macro_precision),
        Figure("macro_f1", "macro F1", per_class.macro_f1, drawn.get("macro_f1")),
    ]


def _ranking_figures(
    evaluation: Evaluation, ranked: RankedScores | None, drawn: dict[str, Interval]
) -> list[Figure]:
    """Return ROC-AUC and average precision, with more than two classes each against the rest."""
    if ranked is not None:
        area, precision = float(ranked.roc_auc()), float(ranked.average_precision())
        names = ("ROC-AUC", "average precision")
    else:
        truth = evaluation.labels[:, None] == np.arange(len(evaluation.classes))
        areas, precisions = one_vs_rest(evaluation.probabilities(), truth)
        area, precision = (float(mean_over(f, np.isfinite(f))) for f in (areas, precisions))
        names = ("ROC-AUC, one vs rest", "mean average precision")
    return [
        Figure("roc_auc", names[0], area, drawn.get("roc_auc"), share=False),
        Figure(
            "average_precision", names[1], precision, drawn.get("average_precision"), share=False
        ),
    ]


def _multi_label(evaluation: Evaluation, resamples: int, seed: int) -> Figures:
    metrics, logits = evaluation.multi_label_metrics, evaluation.served_logits()
    labels = evaluation.labels.astype(np.bool_)
    lost = losses(logits, labels)
    right = ((logits >= 0) == labels).all(axis=1)
    statistics: dict[str, Statistic] = {
        "exact_match": mean_of(right),
        "nll": mean_of(lost.nll),
        "brier": mean_of(lost.brier),
    }
    drawn = intervals(statistics, len(labels), resamples, seed)
    bins = reliability(lost.confidence, lost.right)
    headline = (
        Figure("mean_average_precision", "mean average precision", metrics.mean_average_precision),
        Figure("micro_f1", "micro F1", metrics.micro_f1),
        Figure("macro_f1", "macro F1", metrics.macro_f1),
        Figure("exact_match", "exact match", metrics.exact_match, drawn.get("exact_match")),
        Figure("ece", "ECE", bins.ece),
        Figure("nll", "binary NLL", float(lost.nll.mean()), drawn.get("nll"), share=False),
        Figure("brier", "Brier score", float(lost.brier.mean()), drawn.get("brier"), share=False),
    )
    return Figures(
        headline=headline,
        classes=metrics.rows(),
        right=right,
        nll=lost.nll,
        reliability=bins,
        temperature=cross_fit(logits, labels, seed),
        curves=None,
        counts=metrics.to_json(),
        resamples=resamples,
        seed=seed,
    )
