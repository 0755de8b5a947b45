"""What users ask of answers: top-1, the recall of a class, how well a class is ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetnet.bundle import Activation, Judgement
from fleetnet.errors import FleetnetError, nearest
from fleetnet.text import first_few

TOP1, EXACT_MATCH, RECALL, ROC_AUC = "top1", "exact_match", "recall", "roc_auc"
WORDS = (TOP1, f"{RECALL}:CLASS", ROC_AUC, f"{ROC_AUC}:CLASS")
TITLES = {TOP1: "top-1", EXACT_MATCH: "exact match", RECALL: "recall", ROC_AUC: "ROC-AUC"}


@dataclass(frozen=True)
class Metric:
    """A figure of the answers, which fewer bits may cost something of.

    Attributes:
        name: ``top1``; ``exact_match``, which is top-1 where an image has any number of classes;
            ``recall`` and ``roc_auc`` of a class.
        index: of the class; None where it is of all.
        class_name: its name.
    """

    name: str = TOP1
    index: int | None = None
    class_name: str | None = None

    @classmethod
    def of(cls, word: str, classes: Sequence[str], activation: Activation) -> Metric:
        """Return the metric that a word names.

        Args:
            word: one of :data:`WORDS`. ``roc_auc`` alone is that of the second of two classes.
            classes: the network's.
            activation: the network's.

        Raises:
            FleetnetError: it names none, or a class that the network does not know.
        """
        name, _, class_name = word.partition(":")
        if name in (TOP1, EXACT_MATCH) and not class_name:
            return cls(TOP1 if activation == "softmax" else EXACT_MATCH)
        if name == ROC_AUC and not class_name and len(classes) == 2 and activation == "softmax":
            class_name = classes[1]
        if name not in (RECALL, ROC_AUC) or not class_name:
            raise FleetnetError(
                f"metric='{word}' is none of {', '.join(WORDS)}",
                code="unknown-metric",
                given=word,
                known=list(WORDS),
                arguments=["metric"],
            )
        if class_name not in classes:
            raise FleetnetError(
                f"metric='{word}': the network has no class '{class_name}'"
                f"{nearest(class_name, classes)} (it knows: {first_few(classes, 10)})",
                code="unknown-class",
                given=class_name,
                arguments=["metric"],
            )
        return cls(name, list(classes).index(class_name), class_name)

    @classmethod
    def judged(cls, judgement: Judgement, classes: Sequence[str], activation: Activation) -> Metric:
        """Return the metric that a bundle's record is of; top-1 where it is not known here."""
        named = judgement.of_class
        word = judgement.metric if named is None else f"{judgement.metric}:{named}"
        try:
            return cls.of(word, classes, activation)
        except FleetnetError:
            return cls.of(TOP1, classes, activation)

    @property
    def title(self) -> str:
        """Its name for people."""
        return titled(self.name, self.class_name)


ACCURACY = Metric()
"""Top-1, which is the default."""


def titled(name: str, class_name: str | None) -> str:
    """Return a metric's name for people, such as ``recall of 'cat'``."""
    title = TITLES.get(name, name)
    return title if class_name is None else f"{title} of '{class_name}'"
