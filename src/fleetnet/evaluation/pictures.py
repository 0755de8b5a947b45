"""The images in the report: the worst mistakes and the labels that are probably wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fleetnet.data.sources import Source
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import Figures
from fleetnet.evaluation.label_errors import (
    LabelIssue,
    find_label_issues,
    find_multi_label_issues,
    worst_mistakes,
)
from fleetnet.evaluation.thumbnails import Explain, Thumbnail, thumbnails
from fleetnet.preprocess import Preprocess

SHOWN = 24
"""Images in a section, at most."""


class Line(NamedTuple):
    """A line under an image."""

    text: str
    probability: float
    wrong: bool = False


class _Case(NamedTuple):
    position: int
    """Among the images evaluated."""
    chosen: int
    """The class to explain in it."""
    lines: list[Line]


class Picture(NamedTuple):
    """An image of the report."""

    thumbnail: Thumbnail
    file: str
    heat_class: str
    lines: list[Line]


class Pictures:
    """Finds the images to show and reads them again."""

    def __init__(self, evaluation: Evaluation, source: Source, preprocess: Preprocess) -> None:
        self._evaluation = evaluation
        self._source = source
        self._preprocess = preprocess
        self._classes = evaluation.classes
        self._probabilities = evaluation.probabilities()

    def mistakes(self, figures: Figures, explain: Explain | None) -> list[Picture]:
        """Return the worst mistakes, each with the heat map of the predicted class."""
        of_kind = self._multi_mistake if self._evaluation.multi_label else self._mistake
        positions = worst_mistakes(figures.right, figures.nll, SHOWN)
        return self._pictures([of_kind(int(position)) for position in positions], explain)

    def _mistake(self, position: int) -> _Case:
        row, true = self._probabilities[position], int(self._evaluation.labels[position])
        answered = int(row.argmax())
        lines = [
            Line(f"called {self._classes[answered]}", float(row[answered]), wrong=True),
            Line(f"is {self._classes[true]}", float(row[true])),
        ]
        return _Case(position, answered, lines)

    def _multi_mistake(self, position: int) -> _Case:
        row, truth = self._probabilities[position], self._evaluation.labels[position].astype(bool)
        wrong = np.flatnonzero((row >= 0.5) != truth)
        worst = wrong[np.argsort(-np.abs(row - truth)[wrong], kind="stable")]
        lines = [
            Line(
                f"{'missed' if truth[k] else 'wrongly'} {self._classes[k]}",
                float(row[k]),
                wrong=True,
            )
            for k in worst[:4]
        ]
        return _Case(position, int(worst[0]), lines)

    def label_errors(self) -> tuple[list[Picture], int]:
        """Return the images whose labels are most probably wrong, and how many there are in all."""
        if self._evaluation.multi_label:
            labels = self._evaluation.labels.astype(np.bool_)
            found = find_multi_label_issues(self._probabilities, labels)
            cases = [self._multi_label_issue(k, issue) for k, issue in found[:SHOWN]]
            return self._pictures(cases, None), len(found)
        issues = find_label_issues(self._probabilities, self._evaluation.labels.astype(np.int64))
        return self._pictures([self._label_issue(issue) for issue in issues[:SHOWN]], None), len(
            issues
        )

    def _label_issue(self, issue: LabelIssue) -> _Case:
        row = self._probabilities[issue.position]
        lines = [
            Line(f"labelled {self._classes[issue.given]}", float(row[issue.given])),
            Line(f"perhaps {self._classes[issue.suggested]}", float(row[issue.suggested]), True),
        ]
        return _Case(issue.position, issue.suggested, lines)

    def _multi_label_issue(self, index: int, issue: LabelIssue) -> _Case:
        given = "with" if issue.given else "without"
        probability = float(self._probabilities[issue.position, index])
        line = Line(f"labelled {given} {self._classes[index]}", probability, wrong=True)
        return _Case(issue.position, index, [line])

    def _pictures(self, cases: Sequence[_Case], explain: Explain | None) -> list[Picture]:
        wanted = [(int(self._evaluation.indices[case.position]), case.chosen) for case in cases]
        lines = {key: case.lines for key, case in zip(wanted, cases, strict=True)}
        return [
            Picture(
                thumbnail,
                self._source.samples[thumbnail.sample].name,
                self._classes[thumbnail.chosen],
                lines[thumbnail.sample, thumbnail.chosen],
            )
            for thumbnail in thumbnails(self._source, self._preprocess, wanted, explain)
        ]
