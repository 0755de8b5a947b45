"""The images that converted files are verified with, and what judges fewer bits on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fleetnet.bundle import Bundle, Manifest
from fleetnet.data.sources import Source
from fleetnet.errors import DataError, FleetnetError
from fleetnet.evaluation.labelled_images import held_out_images, labelled_judge, read_labelled
from fleetnet.evaluation.losses import Labels
from fleetnet.export.held_out import held_out_part
from fleetnet.export.verification_images import images_to_verify_with
from fleetnet.image_files import find_images
from fleetnet.inference.engines import Pixels
from fleetnet.inference.judging import MAX_LOSS, AgreementJudge, Judge, confidence_judge
from fleetnet.inference.metric import TOP1, Metric
from fleetnet.inference.pictures import MADE_UP, made_up_pictures
from fleetnet.inference.verify import AGREEMENT, prepare
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.training.adopt import read_checkpoint
from fleetnet.weights.subject import Subject, file_of

IMAGES, LABELLED = 128, 1000
"""Defaults of how many images a conversion is verified with, and of how many that have labels."""
SEED = 0


@dataclass(frozen=True)
class Allowed:
    """What fewer bits may lose.

    Attributes:
        metric: of what, see :meth:`fleetnet.inference.metric.Metric.of`.
        max_loss: how much of it, as a share.
        agreement: in place of both, the share of the images that have to get the same answer;
            None where something may be lost.
    """

    metric: str = TOP1
    max_loss: float = MAX_LOSS
    agreement: float | None = None

    def check(self, manifest: Manifest, precision: str) -> None:
        """Refuse, before images are read, what cannot be asked for.

        Raises:
            FleetnetError: nothing may be lost in this precision, an agreement that is none, or a
                metric that there is not.
        """
        if precision == "fp32" and (self.agreement is not None or self.metric != TOP1):
            raise FleetnetError(
                "fp32 has to give the same answers: leave out metric= and agreement=, or choose "
                "fewer bits",
                arguments=["metric", "agreement"],
            )
        if self.agreement is not None and not 0 < self.agreement <= 1:
            raise FleetnetError(f"agreement is {self.agreement}; it must be above 0 and at most 1")
        Metric.of(self.metric, manifest.classes, manifest.model.activation)

    def judge(self, manifest: Manifest, origin: str, labels: Labels | None) -> Judge:
        """Return what judges fewer bits on images, by labels if there are any.

        Raises:
            FleetnetError: the metric takes labels, or real images.
        """
        if self.agreement is not None:
            return AgreementJudge(self.agreement, manifest.model.activation)
        if labels is not None:
            return labelled_judge(labels, manifest, self.metric, self.max_loss)
        if MADE_UP in origin and self.metric == TOP1:
            # Of made-up pictures nobody knows how sure a network should be.
            return AgreementJudge(AGREEMENT, manifest.model.activation)
        if MADE_UP in origin:
            raise DataError(
                f"made-up pictures say nothing about {self.metric}: give real images, images=, or "
                "labelled ones, data=",
                arguments=["images", "data"],
            )
        return confidence_judge(manifest, self.metric, self.max_loss)


class Given(NamedTuple):
    """The images that a caller gives: with labels, and without; see :func:`images_to_show`."""

    images: Sequence[str] = ()
    data: Source | None = None
    limit: int | None = None
    left_out: LeftOut | None = None

    @property
    def names(self) -> str:
        """What a record calls those without labels."""
        return printable(", ".join(Path(image).name or image for image in self.images))

    def most(self, *, labelled: bool) -> int:
        """Return how many images to compare on at most."""
        return (LABELLED if labelled else IMAGES) if self.limit is None else self.limit


class Shown(NamedTuple):
    """Images to verify with: what a record calls them, and their labels if those are known."""

    pixels: Pixels
    origin: str
    labels: Labels | None = None


def images_to_show(subject: Subject, bundle: Bundle, given: Given, *, labelled: bool) -> Shown:
    """Return the images to verify with, with their labels if those are wanted and known.

    They are those given, else held-out ones of the data that a checkpoint was trained on if it is
    still there, else made-up pictures.

    Args:
        subject: what the bundle was made of.
        bundle: the network's.
        given: images of the caller's.
        labelled: whether labels are wanted.

    Raises:
        DataError: none can be read, or they are given in two ways.
    """
    preprocess = bundle.manifest.preprocess
    if given.data is not None:
        if given.images:
            raise DataError(
                "nothing is calibrated here, so one kind of images is enough: give images= or "
                "data=",
                arguments=["images", "data"],
            )
        found = held_out_images(given.data, bundle, given.most(labelled=labelled))
        return Shown(found.pixels, found.part, found.labels if labelled else None)
    most = given.most(labelled=False)
    if given.images:
        paths = find_images(given.images, given.left_out)
        return Shown(prepare(paths, preprocess, most), given.names)
    if subject.kind != "weights":
        return Shown(made_up_pictures(most, preprocess.crop), f"{most} {MADE_UP}")
    trained = read_checkpoint(file_of(subject))
    held_out = held_out_part(trained)
    if labelled and held_out is not None:
        source, indices = held_out
        shuffled = np.random.default_rng(SEED).permutation(indices)
        origin = f"held-out images of {source.description}"
        most = given.most(labelled=True)
        found = read_labelled(source, shuffled, bundle.manifest, most, origin)
        return Shown(found.pixels, origin, found.labels)
    pixels, origin = images_to_verify_with(
        trained, (), most, held_out, given.left_out, made_up=True
    )
    return Shown(pixels, origin)
