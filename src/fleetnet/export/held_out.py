"""The images that a checkpoint was not trained on, if its data is still there."""

from __future__ import annotations

import numpy as np

from fleetnet.data import contents
from fleetnet.data.sources import Source, fingerprint, open_source_spec
from fleetnet.data.splits import Indices, split
from fleetnet.errors import FleetnetError
from fleetnet.training.checkpoint import Checkpoint

HeldOut = tuple[Source, Indices]
"""Data, and which of its images were held out."""


def held_out_part(trained: Checkpoint) -> HeldOut | None:
    """Return the data that a checkpoint was trained on and its held-out part, if still there.

    If names or classes have changed since, held-out images are recognised by their content; those
    that the weights had been trained on earlier are left out.
    """
    source = training_source(trained)
    if source is None:
        return None
    if fingerprint(source) == trained.data.get("fingerprint"):
        return source, split(source, trained.data["val_fraction"], trained.data["seed"]).val
    known = np.setdiff1d(trained.held_out_images, trained.trained_images)
    if not len(known):
        return None
    everything = np.arange(len(source.samples))
    held_out = everything[contents.are_among(source, everything, known)]
    return (source, held_out) if len(held_out) else None


def why_gone(trained: Checkpoint) -> str:
    """Return the line that says why :func:`held_out_part` found none."""
    if "fingerprint" not in trained.data:
        return "weights from elsewhere come without the images that they were trained on"
    return "the images that this checkpoint was trained on are not here any more"


def training_source(checkpoint: Checkpoint) -> Source | None:
    """Open a checkpoint's training data, if it is still there; it may have changed."""
    try:
        return open_source_spec(checkpoint.data.get("spec", {}))
    except FleetnetError:
        return None
