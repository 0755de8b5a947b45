"""Which of the images to judge a network has been trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleetnet.amounts import count
from fleetnet.bundle import TRAINED_IMAGES, Bundle
from fleetnet.data.contents import Contents, are_among, from_bytes
from fleetnet.data.duplicates import Advance
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.samples import Indices
from fleetnet.errors import DataError

UNKNOWN = "Which images the network was trained on is not known: some of these may be among them."


@dataclass(frozen=True)
class Overlap:
    """What is left to judge.

    Attributes:
        indices: of the images to judge.
        images: how many there were.
        trained_on: how many of those the network was trained on; None if it is not known.
        left_out: whether they were left out.
    """

    indices: Indices
    images: int
    trained_on: int | None
    left_out: bool

    def describe(self, part: str) -> str:
        """Return what to call the images that are left of a part."""
        if self.left_out and self.trained_on:
            return f"{part}, less {self.trained_on} that it was trained on"
        return part

    @property
    def sentence(self) -> str:
        """What a reader of the figures has to know of it; empty where there is nothing."""
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
    """Tell images that a network was trained on from others, by their content.

    Each image is read once, whatever it is called and whichever labels it has by now.

    Args:
        source: of the images.
        indices: of those to judge.
        trained_images: the contents of those that it was trained on; empty if that is not known.
        leave_out: whether images that were trained on are not to be judged.
        advance: called with a count as images are read.

    Raises:
        DataError: all of them were trained on and would be left out.
    """
    if not len(trained_images):
        return Overlap(indices, len(indices), None, leave_out)
    seen = are_among(source, indices, trained_images, advance)
    count = int(seen.sum())
    if leave_out and count and count == len(indices):
        raise DataError(
            f"the network was trained on all {count} images of {source.description} that were to "
            "be judged, so that none is left: judge others, or these all the same with --split all"
        )
    return Overlap(indices[~seen] if leave_out else indices, len(indices), count, leave_out)


def trained_images_of(bundle: Bundle) -> Contents:
    """Return the contents of the images that a bundle's network was trained on; empty if unknown.

    Raises:
        BundleError: the file that holds them is damaged or gone.
    """
    if not bundle.has(TRAINED_IMAGES):
        return from_bytes(b"")
    return from_bytes(bundle.artifact(TRAINED_IMAGES).read_bytes())
