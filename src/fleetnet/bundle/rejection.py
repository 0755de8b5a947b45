"""When a bundle's answer is no answer: the threshold below which every host says so."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fleetnet.bundle.strict import Strict

Certainty = Literal["energy", "max-logit", "probability"]
"""What the threshold is of, computed from an image's logits: see docs/rejection.md."""


class Rejection(Strict):
    """Images whose score is below the threshold are rejected, and so are those without a number.

    The scores of ``energy`` and ``max-logit`` are of the logits as the graph gives them, before the
    temperature; ``probability`` is that of the most probable class, as it is served.
    """

    score: Certainty
    threshold: float = Field(allow_inf_nan=False)
    coverage: float = Field(ge=0, le=1)
    """Share of the images, which it was chosen on, that are accepted with it."""
    risk: float = Field(ge=0, le=1)
    """Share of the accepted ones whose answer is wrong."""
    images: int = Field(ge=1)
    """How many images it was chosen on."""
    source: str
    """Where those images came from."""
