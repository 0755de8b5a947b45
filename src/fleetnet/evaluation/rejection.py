"""How many answers count, and how many of those are wrong, at each threshold of rejection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Certainty
from fleetnet.data.splits import Indices
from fleetnet.errors import DataError
from fleetnet.evaluation.bootstrap import Interval, wilson
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.metrics import Floats, predicted_classes
from fleetnet.evaluation.ranking import RankedScores
from fleetnet.inference.certainty import certainty

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Those that a table shows."""
Right = npt.NDArray[np.bool_]


class Point(NamedTuple):
    """A threshold, and what it does to the images.

    Attributes:
        threshold: images whose score is below are rejected.
        images: of which some are accepted.
        accepted: how many.
        errors: how many of the accepted are answered wrong.
    """

    threshold: float
    images: int
    accepted: int
    errors: int

    @property
    def coverage(self) -> float:
        """Share of the images that are accepted."""
        return self.accepted / self.images

    @property
    def risk(self) -> float:
        """Share of the accepted images that are answered wrong; 0 where none is accepted."""
        return self.errors / self.accepted if self.accepted else 0.0

    @property
    def interval(self) -> Interval:
        """The score interval of the risk, at 95 %."""
        return wilson(self.errors, self.accepted) if self.accepted else Interval(0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "threshold": self.threshold,
            "coverage": self.coverage,
            "risk": self.risk,
            "interval": list(self.interval),
            "accepted": self.accepted,
            "errors": self.errors,
        }


@dataclass(frozen=True)
class CoverageRisk:
    """A point for each distinct score, from the highest down: it and all above are accepted.

    Attributes:
        scores: the distinct scores, falling, ``float64[T]``.
        accepted, errors: counts at each of them, ``int64[T]``.
    """

    scores: Floats
    accepted: npt.NDArray[np.int64]
    errors: npt.NDArray[np.int64]

    @classmethod
    def of(cls, scores: npt.NDArray[np.floating], right: Right) -> CoverageRisk:
        """Rank images, ``float[N]`` and ``bool[N]``; those of equal score go together.

        Raises:
            DataError: a score is not a number.
        """
        if not np.isfinite(scores).all():
            raise DataError("the network's logits are not all numbers: no threshold holds for them")
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order].astype(np.float64)
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        errors = np.cumsum(~right[order], dtype=np.int64)[ends]
        return cls(ranked[ends], ends + 1, errors)

    @property
    def images(self) -> int:
        """How many there are."""
        return int(self.accepted[-1])

    @property
    def coverage(self) -> Floats:
        """Share of the images that are accepted at each point."""
        return np.asarray(self.accepted / self.images)

    @cached_property
    def risk(self) -> Floats:
        """Share of the accepted that are wrong at each point."""
        return np.asarray(self.errors / self.accepted)

    @property
    def area(self) -> float:
        """The area under the curve of risk over coverage; a perfect order of the images is least.

        Risk, averaged over accepting one image, two, and so on (Geifman, Uziel and El-Yaniv 2019).
        """
        shares = np.diff(self.accepted, prepend=0) / self.images
        return float((self.risk * shares).sum())

    def point(self, place: int) -> Point:
        """Return a point, its threshold halfway to the next lower score.

        No image lies on it, so that a host's rounding seldom decides.
        """
        here = float(self.scores[place])
        if place + 1 < len(self.scores):
            threshold = (here + float(self.scores[place + 1])) / 2
        else:
            above = float(self.scores[place - 1]) if place else here + 2e-3
            threshold = here - (above - here) / 2
        accepted, errors = int(self.accepted[place]), int(self.errors[place])
        return Point(threshold, self.images, accepted, errors)

    def at_coverage(self, share: float) -> Point:
        """Return the highest threshold that accepts at least this share of the images."""
        enough = np.flatnonzero(self.accepted >= share * self.images - 1e-9)
        return self.point(int(enough[0]))

    def at_risk(self, most: float) -> Point:
        """Return the lowest threshold with which at most this share of the accepted is wrong.

        Raises:
            DataError: there is none: even of the most certain images, more are wrong.
        """
        good = np.flatnonzero(self.risk <= most)
        if not len(good):
            raise DataError(
                f"no threshold brings the risk down to {most:g}: of the most certain images, "
                f"{self.risk.min():.3f} are wrong; allow more, or choose another score=",
                arguments=["risk", "score"],
            )
        return self.point(int(good[-1]))

    def at(self, threshold: float) -> Point:
        """Return what a given threshold does."""
        above = np.flatnonzero(self.scores >= threshold)
        if not len(above):
            return Point(threshold, self.images, 0, 0)
        return self.point(int(above[-1]))._replace(threshold=threshold)


Choose = Callable[[CoverageRisk], Point]


class Half(NamedTuple):
    """One half of the images.

    Attributes:
        images: their places, ``intp[M]``.
        threshold: that was chosen on the other half.
    """

    images: Indices
    threshold: float


def fit_halves(
    scores: npt.NDArray[np.floating], right: Right, choose: Choose, seed: int = 0
) -> tuple[Half, ...]:
    """Split the images by chance, and choose a threshold for each half on the other.

    Raises:
        DataError: a half is too small to choose on, or no threshold of it is what is wanted.
    """
    halves = np.array_split(np.random.default_rng(seed).permutation(len(right)), 2)
    if not len(halves[1]):
        raise DataError("one image alone has no halves to choose a threshold on")
    return tuple(
        Half(mine, choose(CoverageRisk.of(scores[other], right[other])).threshold)
        for mine, other in (halves, halves[::-1])
    )


def cross_fit(
    scores: npt.NDArray[np.floating], right: Right, choose: Choose, seed: int = 0
) -> Point | None:
    """Measure each half of the images with the threshold that was chosen on the other.

    A threshold looks better on the images that it was chosen on than it is on others.

    Returns:
        Counts over both halves, without a threshold; None if a half is too small to choose on.
    """
    try:
        halves = fit_halves(scores, right, choose, seed)
    except DataError:
        return None
    accepted = errors = 0
    for mine, threshold in halves:
        taken = scores[mine] >= threshold
        accepted, errors = accepted + int(taken.sum()), errors + int((taken & ~right[mine]).sum())
    return Point(float("nan"), len(right), accepted, errors)


def scores_of(evaluation: Evaluation, score: Certainty) -> npt.NDArray[np.float32]:
    """Return the scores of the images of an evaluation, ``float32[N]``."""
    return certainty(evaluation.logits, score, evaluation.temperature)


def right_of(evaluation: Evaluation) -> Right:
    """Return which images were answered right, ``bool[N]``."""
    return np.asarray(predicted_classes(evaluation.logits) == evaluation.labels)


def curve_of(evaluation: Evaluation, score: Certainty) -> CoverageRisk:
    """Return the curve of an evaluation of data with one class an image.

    Raises:
        DataError: a logit is not a number.
    """
    return CoverageRisk.of(scores_of(evaluation, score), right_of(evaluation))


def auroc(inside: npt.NDArray[np.floating], outside: npt.NDArray[np.floating]) -> float:
    """Return how often an image of the data has a higher score than an outlier; ties count half."""
    scores = np.concatenate([inside, outside])
    return float(RankedScores(scores, np.arange(len(scores)) < len(inside)).roc_auc())
