"""Which images a network in int8 is fine-tuned on: none of those that judge it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.data.contents import are_among
from fleetnet.data.sources import Source
from fleetnet.data.sources.pool import LooseImages
from fleetnet.data.sources.samples import Indices
from fleetnet.data.unlabelled import find_unlabelled
from fleetnet.errors import DataError
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.export.quantize.samples import Samples
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Begin

LEAST = 20
"""Fewer images show too little of what the network will see."""


def loose_images(folder: Path, bundle: Bundle, left_out: LeftOut) -> Source:
    """Return the images of a folder as a source: labels are not needed to learn from a network.

    Args:
        folder: of the images, in any folders below it.
        bundle: whose classes the source has.
        left_out: counts what is passed over.

    Raises:
        DataError: there are none.
    """
    return LooseImages(find_unlabelled([str(folder)], left_out), bundle.manifest.classes)


def training_images(source: Source, bundle: Bundle, samples: Samples, begin: Begin) -> Indices:
    """Return the indices of the images to train on.

    Where the network is known to have been trained on some of them, those are meant, so that what
    was held out then stays unknown to it; otherwise all that do not judge the network in int8.

    Args:
        source: of the images.
        bundle: knows what its network was trained on.
        samples: whose validation images judge.
        begin: called with the comparison of the images.

    Raises:
        DataError: fewer than :data:`LEAST` are left.
    """
    everything = np.arange(len(source.samples))
    known = trained_images_of(bundle)
    advance = begin("comparing images", len(everything) * (2 if len(known) else 1))
    judging = are_among(source, everything, samples.contents, advance)
    chosen = ~judging
    if len(known):
        before = are_among(source, everything, known, advance) & chosen
        chosen = before if before.any() else chosen
    indices: Indices = everything[chosen]
    if len(indices) < LEAST:
        without = f" besides the {int(judging.sum())} that judge" if judging.any() else ""
        raise DataError(
            f"{source.description} has {len(indices)} images to fine-tune with{without}: "
            f"at least {LEAST} are wanted, train=",
            arguments=["train"],
        )
    return indices
