"""A reference of an evaluation: its answers, and its pictures, which are read once more."""

from __future__ import annotations

import numpy as np

from fleetnet.data.sources import Source
from fleetnet.errors import ImageError
from fleetnet.evaluation.drift.reference import Reference
from fleetnet.evaluation.drift.statistics import CONFIDENCE, PICTURE, Figures, prepare_and_measure
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.inference.engines import available_threads
from fleetnet.preprocess import Preprocess
from fleetnet.reporting import Advance
from fleetnet.threads import map_in_threads

ENOUGH = 20_000
"""More images are not read: bins of so many are known to a twentieth."""


def reference_of(
    evaluation: Evaluation,
    source: Source,
    preprocess: Preprocess,
    *,
    bundle: str | None = None,
    description: str = "",
    advance: Advance = lambda _: None,
) -> Reference:
    """Return the reference that an evaluation gives.

    Args:
        evaluation: of a network.
        source: of its images.
        preprocess: of the network.
        bundle: SHA-256 of the bundle that was evaluated, if it was one.
        description: of the images, for people.
        advance: called with a count as images are done, for a progress bar.

    Raises:
        FleetnetError: no image can be read any more.
    """
    rows = rows_measured(len(evaluation.indices))
    figures: list[Figures] = []
    kept: list[int] = []

    def measured(row: int) -> Figures | None:
        try:
            # As a server decodes, which is not exact unless that is asked for.
            data = source.read(int(evaluation.indices[row]))
            return prepare_and_measure(data, preprocess, exact=False)[1]
        except ImageError:
            return None

    found_all = map_in_threads(measured, rows, available_threads(), name="fleetnet-images")
    for row, found in zip(rows, found_all, strict=True):
        advance(1)
        if found is not None:
            figures.append(found)
            kept.append(row)
    if not kept:
        raise ImageError("no image of the evaluation can be read any more")
    probabilities = evaluation.probabilities()[kept]
    pictures = np.array(figures)
    return Reference.of(
        evaluation.classes,
        np.argmax(evaluation.logits[kept], axis=1),
        {
            CONFIDENCE: probabilities.max(axis=1).astype(np.float64),
            **{name: pictures[:, column] for column, name in enumerate(PICTURE)},
        },
        bundle=bundle,
        source=description,
    )


def rows_measured(images: int) -> list[int]:
    """Return which of an evaluation's images are measured: all, or enough from all over it."""
    rows = np.linspace(0, images - 1, min(images, ENOUGH)).astype(int)
    return [int(row) for row in np.unique(rows)]
