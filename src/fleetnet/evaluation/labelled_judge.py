"""Whether fewer bits lose more than is allowed, as the labels say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.bundle import Activation, Judgement
from fleetnet.errors import DataError
from fleetnet.evaluation.bootstrap import Interval
from fleetnet.evaluation.losses import Labels, losses
from fleetnet.evaluation.metrics import plain, predicted_classes
from fleetnet.evaluation.paired import (
    loss_by_bootstrap,
    loss_of_share,
    needed_by_spread,
    needed_for_share,
)
from fleetnet.evaluation.ranking import RankedScores
from fleetnet.evaluation.temperature import fit_temperature
from fleetnet.inference.engines import Logits
from fleetnet.inference.judging import (
    LABELS,
    MAX_LOSS,
    ConfidenceJudge,
    Verdict,
    points,
    says_class,
)
from fleetnet.inference.metric import ACCURACY, EXACT_MATCH, RECALL, ROC_AUC, Metric


class _Compared(NamedTuple):
    """A metric in fp32 and in fewer bits, and the bounds of what was lost.

    ``counted`` is how many images it is of, ``needed`` how many would show that no more than is
    allowed was lost; None if no number would.
    """

    fp32: float
    found: float
    bounds: Interval
    counted: int
    needed: int | None


@dataclass(frozen=True)
class LabelledJudge:
    """Compares how many answers are right in fp32 and in fewer bits, image by image.

    Where the images are too few to decide, it falls back on how sure fp32 was of the answers that
    changed, and says how many images it would take.

    Attributes:
        labels: of the images, in their order; ``int[N]``, with ``sigmoid`` ``bool[N, K]``.
        metric: what may be lost.
        allowed: the largest loss that passes, as a share.
        activation: of the network.
        temperature: by which its logits are divided.
    """

    labels: Labels
    metric: Metric = ACCURACY
    allowed: float = MAX_LOSS
    activation: Activation = "softmax"
    temperature: float = 1.0

    def judge(self, expected: Logits, found: Logits) -> Verdict:
        """Compare with the labels of the first ``N`` images.

        Raises:
            DataError: none of them is of the class that the metric is of.
        """
        labels = self.labels[: len(expected)]
        compared = self._compare(expected, found, labels)
        loss, bounds = compared.fp32 - compared.found, compared.bounds
        before, after = (losses(_numbers(z), labels, self.temperature) for z in (expected, found))
        judgement = Judgement(
            metric=self.metric.name,
            of_class=self.metric.class_name,
            judged_by=LABELS,
            images=len(expected),
            loss=loss,
            low=bounds.low,
            high=bounds.high,
            allowed=self.allowed,
            fp32=compared.fp32,
            found=compared.found,
            fp32_nll=plain(before.nll.mean()),
            nll=plain(after.nll.mean()),
            fp32_ece=plain(before.ece),
            ece=plain(after.ece),
        )
        if bounds.high <= self.allowed or not bounds.low <= self.allowed:
            shown = bounds.high <= self.allowed
            return Verdict(judgement, shown, not shown)
        return self._undecided(judgement, compared, expected, found, labels)

    def _undecided(
        self,
        judgement: Judgement,
        compared: _Compared,
        expected: Logits,
        found: Logits,
        labels: Labels,
    ) -> Verdict:
        note = self._too_few(judgement, compared)
        if self.metric.name == ROC_AUC:
            return Verdict(judgement, passed=False, refuted=False, note=note)
        # One image more than is allowed says little; two say more than the probabilities do.
        beyond = judgement.loss - self.allowed > 1.5 / compared.counted
        if beyond:
            return Verdict(judgement, passed=False, refuted=False, note=note)
        temperature = self.temperature * _sharper(expected / self.temperature, labels)
        by_confidence = ConfidenceJudge(
            self.metric, self.allowed, self.activation, temperature
        ).judge(expected, found)
        told = judgement.model_dump(include={"fp32", "found", "fp32_nll", "nll", "fp32_ece", "ece"})
        return Verdict(
            by_confidence.judgement.model_copy(update=told),
            by_confidence.passed,
            by_confidence.refuted,
            "; ".join(
                filter(
                    None,
                    [f"{note}, so how sure fp32 was of what changed decides", by_confidence.note],
                )
            ),
        )

    def _too_few(self, judgement: Judgement, compared: _Compared) -> str:
        measured = (
            f"{count(compared.counted, 'labelled image')} cannot show whether "
            f"{points(self.allowed)} points of {self.metric.title} or less are lost (measured: "
            f"{points(judgement.loss)}, between {points(judgement.low)} and "
            f"{points(judgement.high)})"
        )
        if compared.needed is None:
            return measured
        return f"{measured}: that takes some {compared.needed:,}"

    def _compare(self, expected: Logits, found: Logits, labels: Labels) -> _Compared:
        if self.metric.name == ROC_AUC:
            return self._compare_ranks(expected, found, labels)
        before, after = (self._right(logits, labels) for logits in (expected, found))
        if self.metric.name == RECALL:
            of_class = self._of_class(labels)
            before, after = before[of_class], after[of_class]
        images = len(before)
        worse, better = int((before & ~after).sum()), int((after & ~before).sum())
        return _Compared(
            float(before.mean()),
            float(after.mean()),
            loss_of_share(worse, better, images),
            images,
            needed_for_share(worse, better, images, self.allowed),
        )

    def _right(self, logits: Logits, labels: Labels) -> npt.NDArray[np.bool_]:
        """Return which images are answered right; answers that are not numbers never are."""
        numbers = np.isfinite(logits).all(1)
        if self.metric.name == RECALL:
            return np.asarray(says_class(logits, self.metric, self.activation) & numbers)
        if self.metric.name == EXACT_MATCH:
            return np.asarray(((logits >= 0) == labels).all(1) & numbers)
        return np.asarray((predicted_classes(logits) == labels) & numbers)

    def _of_class(self, labels: Labels) -> npt.NDArray[np.bool_]:
        """Return which images are of the metric's class.

        Raises:
            DataError: none is, or for ``roc_auc`` all are.
        """
        index = self.metric.index
        of_class = labels[:, index] if labels.ndim == 2 else labels == index
        found = np.asarray(of_class, np.bool_)
        if not found.any() or (self.metric.name == ROC_AUC and found.all()):
            which = "no image" if not found.any() else "every image"
            raise DataError(
                f"{which} of the {len(labels)} that judge is of the class "
                f"'{self.metric.class_name}', so nothing can be said of its {self.metric.name}"
            )
        return found

    def _compare_ranks(self, expected: Logits, found: Logits, labels: Labels) -> _Compared:
        positives = self._of_class(labels)
        before, after = (
            RankedScores(self._scores(logits), positives) for logits in (expected, found)
        )
        images, fp32, kept = len(positives), float(before.roc_auc()), float(after.roc_auc())
        bounds = loss_by_bootstrap(before.roc_auc, after.roc_auc, images)
        needed = needed_by_spread(fp32 - kept, bounds.high, images, self.allowed)
        return _Compared(fp32, kept, bounds, images, needed)

    def _scores(self, logits: Logits) -> npt.NDArray[np.float64]:
        """Return what ranks the images of the class, ``float64[N]``: its log-odds."""
        wide = _numbers(logits).astype(np.float64) / self.temperature
        own = wide[:, self.metric.index]
        if self.activation == "sigmoid":
            return np.asarray(own)
        others = np.delete(wide, self.metric.index or 0, axis=1)
        return np.asarray(own - np.logaddexp.reduce(others, axis=1))


def _sharper(logits: Logits, labels: Labels) -> float:
    """Return the temperature that the labels ask for if it makes fp32 surer of itself, else 1.

    A network that is not sure enough of itself would make a changed answer look cheaper than it is.
    """
    return min(fit_temperature(_numbers(logits), labels), 1.0)


def _numbers(logits: Logits) -> Logits:
    """Return logits without what is no number, which rank last."""
    return np.nan_to_num(logits, nan=-1e9, posinf=1e9, neginf=-1e9)
