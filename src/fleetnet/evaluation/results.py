"""All that an evaluation found: the figures, and which images they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import Figures
from fleetnet.evaluation.overlap import Overlap
from fleetnet.evaluation.rejection import Point, curve_of
from fleetnet.evaluation.slices import Slice


@dataclass(frozen=True)
class Results:
    """What was measured.

    Attributes:
        evaluation: the answers.
        figures: of those answers.
        part: the images, such as ``the 656 held-out images of folder cells``.
        seen: a sentence, if the network was trained on some of the images.
        overlap: with the images that it was trained on; None if that was not looked for.
        slices: accuracy by other facts on the images.
        notes: on the slices.
    """

    evaluation: Evaluation
    figures: Figures
    part: str
    seen: str = ""
    overlap: Overlap | None = None
    slices: Sequence[Slice] = ()
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; None where a figure is undefined."""
        return {
            **self.figures.to_json(),
            "slices": [one.to_json() for one in self.slices],
            **self._rejection(),
            "part": self.part,
            "trained_on": self.overlap.to_json() if self.overlap else None,
            "unreadable": list(self.evaluation.unreadable),
        }

    @property
    def accepted(self) -> Point | None:
        """What the bundle's threshold does to these images; None where nothing is rejected."""
        rejection = self.evaluation.rejection
        if rejection is None:
            return None
        return curve_of(self.evaluation, rejection.score).at(rejection.threshold)

    def _rejection(self) -> dict[str, Any]:
        if self.accepted is None or self.evaluation.rejection is None:
            return {}
        accuracy = 1 - self.accepted.risk if self.accepted.accepted else None
        score = self.evaluation.rejection.score
        return {"rejection": {"score": score, **self.accepted.to_json(), "accepted_top1": accuracy}}
