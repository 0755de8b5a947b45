"""Which of the images to evaluate a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleetnet.amounts import count
from fleetnet.bundle import TRAINED_IMAGES, Artifact, Bundle
from fleetnet.data.contents import Contents, are_among, from_bytes, to_bytes
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.samples import Indices
from fleetnet.errors import DataError
from fleetnet.reporting import Advance

UNKNOWN = "Which images the network was trained on is not known: some of these may be among them."


@dataclass(frozen=True)
class Overlap:
    """The images that are left to evaluate.

    Attributes:
        indices: of the images to evaluate.
        images: how many there were.
        trained_on: how many of those the network was trained on; None if it is not known.
        left_out: whether they were left out.
    """

    indices: Indices
    images: int
    trained_on: int | None
    left_out: bool

    def describe(self, images: str) -> str:
        """Return a description of the images that are left, given that of all."""
        if self.left_out and self.trained_on:
            return f"{images}, less {self.trained_on} that it was trained on"
        return images

    @property
    def sentence(self) -> str:
        """What a reader of the figures has to know about it; empty if nothing."""
        if not self.trained_on:
            return ""
        seen = "was trained on" if self.trained_on == 1 else "were trained on"
        verdict = " and left out" if self.left_out else ""
        return f"{self.trained_on} of {count(self.images, 'image')} {seen}{verdict}."

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, null where it is not known."""
        return {"images": self.trained_on, "left_out": self.left_out and bool(self.trained_on)}


def find_overlap(
    source: Source,
    indices: Indices,
    trained_images: Contents,
    *,
    leave_out: bool,
    advance: Advance = lambda _: None,
) -> Overlap:
    """Find the images that a network was trained on by their content.

    Each image is read once; its name and labels do not matter.

    Args:
        source: of the images.
        indices: of the images to evaluate.
        trained_images: the contents of the training images; empty if they are not known.
        leave_out: whether to leave out images that the network was trained on.
        advance: called with a count as images are read.

    Raises:
        DataError: all of them were trained on and would be left out.
    """
    if not len(trained_images):
        return Overlap(indices, len(indices), None, leave_out)
    seen = are_among(source, indices, trained_images, advance)
    known = int(seen.sum())
    if leave_out and known and known == len(indices):
        raise DataError(
            f"the network was trained on all {count(known, 'image')} of {source.description} that "
            "were to be evaluated, so none is left: give others, or evaluate all of these with "
            "split='all'",
            arguments=["split"],
            images=known,
        )
    return Overlap(indices[~seen] if leave_out else indices, len(indices), known, leave_out)


def remembered(images: Contents) -> tuple[Artifact, dict[str, bytes]]:
    """Return the part of a bundle that lists the images that were trained on, with its file."""
    files = {f"{TRAINED_IMAGES}.bin": to_bytes(images)}
    return Artifact.of(TRAINED_IMAGES, files, precision=None), files


def trained_images_of(bundle: Bundle) -> Contents:
    """Return the contents of the images that a bundle's network was trained on; empty if unknown.

    Raises:
        BundleError: the file that holds them is damaged or gone.
    """
    if bundle.find(format=TRAINED_IMAGES, precision=None) is None:
        return from_bytes(b"")
    return from_bytes(bundle.content(format=TRAINED_IMAGES, precision=None).data)
