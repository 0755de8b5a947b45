"""The answer for one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleetnet.errors import ImageError

if TYPE_CHECKING:  # a client of a server needs the answer and no array
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Score:
    """One class and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        source: the path, or ``image 0``, ``image 1``, … if the image had none.
        top: the most probable classes, best first; empty if the image could not be read.
        error: why it could not be read, else None.
        logits: ``float32[K]`` as the network gives them, before the temperature; None if the image
            could not be read.
        rejected: whether the network is not certain enough of the image for its answer to count;
            False where nothing is rejected.
        score: how certain it is, as the bundle's rejection defines it; None where nothing is
            rejected, or the image could not be read.
    """

    source: str
    top: tuple[Score, ...] = ()
    error: str | None = None
    logits: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    rejected: bool = False
    score: float | None = None

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    @property
    def label(self) -> str:
        """Name of the most probable class.

        Raises:
            ImageError: the image could not be read.
        """
        return self._best().label

    @property
    def probability(self) -> float:
        """Probability of the most probable class.

        Raises:
            ImageError: the image could not be read.
        """
        return self._best().probability

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values, as ``fleetnet predict --json`` prints it.

        What was rejected is said only where something could be.
        """
        rejection = {} if self.score is None else {"rejected": self.rejected, "score": self.score}
        return {
            "image": self.source,
            "top": [
                {"class": score.label, "index": score.index, "probability": score.probability}
                for score in self.top
            ],
            **rejection,
            "error": self.error,
        }

    def _best(self) -> Score:
        if self.error is not None:
            raise ImageError(f"{self.source}: {self.error}")
        return self.top[0]
