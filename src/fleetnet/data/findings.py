"""The findings of a check of labelled images, and which of them make training wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fleetnet.amounts import count
from fleetnet.errors import INSTALL
from fleetnet.reporting import Note


@dataclass(frozen=True)
class ClassCount:
    """How many images a class has."""

    name: str
    images: int
    train: int
    val: int
    test: int = 0


@dataclass(frozen=True)
class OddNames:
    """Names of classes that look like mistakes.

    Attributes:
        names: of the classes.
        reason: a line that names some of them and says what is odd.
        wrong: whether it is hardly ever intended, so that training would be wrong.
    """

    names: tuple[str, ...]
    reason: str
    wrong: bool


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read."""

    name: str
    reason: str


@dataclass(frozen=True)
class Alike:
    """Images that are the same, or look the same.

    Attributes:
        names: two or more images.
        across_classes: whether their labels differ.
        across_split: whether some are for training and some in the validation or test split.
        distance: in how many of the 64 bits of the perceptual hash two look-alikes differ; None
            for files of identical bytes.
        across_test: whether some train and some are in the test split.
        across_val: whether some train and some are held out.
    """

    names: tuple[str, ...]
    across_classes: bool
    across_split: bool
    distance: int | None = None
    across_test: bool = False
    across_val: bool = False


@dataclass(frozen=True)
class Range:
    """Least, middle and greatest of some numbers."""

    least: float
    median: float
    most: float


@dataclass(frozen=True)
class Sizes:
    """How large the readable images are; sides in px, of the upright image."""

    width: Range
    height: Range
    short_side: Range
    aspect_ratio: Range
    """Longer side over shorter."""
    bytes: Range
    total_bytes: int
    input: int
    """Side of the network's input, px."""
    below_input: int
    """Images whose short side is below that and has to be enlarged."""


@dataclass(frozen=True)
class NearDuplicates:
    """Images that look alike without being the same file; blank ones are left out."""

    distance: int
    pairs: tuple[Alike, ...]
    """Those across splits first, then those across classes, then the closest."""
    complete: bool
    """False if there were so many that the search stopped."""


@dataclass(frozen=True)
class UnusedBits:
    """Images of 16 bits per sample that do not use them all, and so look nearly black."""

    images: int
    """How many have 16 bits and do not state how many of them are used."""
    used: int
    """How many bits the largest sample of all of them uses, at least 8."""

    @property
    def setting(self) -> int:
        """The number of bits that the camera most likely has."""
        return next(bits for bits in _CAMERAS if bits >= self.used)


_CAMERAS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Report:
    """All that a check found."""

    source: str
    images: int
    multi_label: bool
    classes: tuple[ClassCount, ...]
    own_split: bool
    """Whether the source itself assigns the splits."""
    split_error: str | None
    """Why the data cannot be split, if so; then no image has a split."""
    unreadable: tuple[Unreadable, ...]
    sizes: Sizes | None
    """None if nothing could be read."""
    formats: dict[str, int]
    modes: dict[str, int]
    turned: int
    """Images that EXIF turns or mirrors."""
    blank: tuple[str, ...]
    duplicates: tuple[Alike, ...]
    """Groups of files of identical bytes."""
    near_duplicates: NearDuplicates | None
    """None if they were not looked for."""
    unused_bits: UnusedBits | None = None
    """None if 16-bit images use all or nearly all of their bits, or there are none."""
    sheets: dict[str, str] = field(default_factory=dict)
    """Contact sheet of each class, where they were drawn."""
    odd_names: tuple[OddNames, ...] = ()
    notes: tuple[str, ...] = ()
    """How the source understood the data, a line each."""
    left_out: dict[str, Any] = field(default_factory=dict)
    """Counts of what it left out: see :class:`fleetnet.left_out.LeftOut`."""

    @property
    def imbalance(self) -> dict[str, Any]:
        """Return how imbalanced the classes are."""
        return imbalance(self.classes)

    @property
    def wrong(self) -> list[str]:
        """Return a line for each finding that makes training or its metrics wrong."""
        lines = []
        if self.split_error:
            lines.append(self.split_error)
        if self.unreadable:
            lines.append(f"{count(len(self.unreadable), 'image')} cannot be read")
        lacking = Counter(entry.reason for entry in self.unreadable if INSTALL in entry.reason)
        lines += [f"{count(number, 'image')}: {reason}" for reason, number in lacking.items()]
        dark = self.unused_bits
        if dark:
            lines.append(
                Note(
                    f"{count(dark.images, 'image')} of 16 bits use {dark.used} bits only (no "
                    f"sample above {2**dark.used - 1}) and look nearly black: "
                    f"set input.sample_bits={dark.setting} in training",
                    settings=["input.sample_bits"],
                )
            )
        across = sum(group.across_classes for group in self.duplicates)
        if across:
            lines.append(f"{count(across, 'group')} of identical images with different labels")
        for across, where in (
            (sum(group.across_val for group in self.duplicates), "held out"),
            (sum(group.across_test for group in self.duplicates), "in the test split"),
        ):
            if across and self.own_split:
                groups = f"{count(across, 'group')} of identical images"
                lines.append(f"{groups} both trained and {where}")
        lines += few([odd.reason for odd in self.odd_names if odd.wrong], "class names")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "format": FORMAT,
            **asdict(self),
            "imbalance": self.imbalance,
            "wrong": self.wrong,
        }


FORMAT = "fleetnet-data-check"
FEW = 3
"""Lines of one kind that are listed as wrong."""


def imbalance(classes: Sequence[ClassCount]) -> dict[str, Any]:
    """Return measures of imbalance, without the test split.

    ``ratio`` is the largest class over the smallest; ``majority_share`` the share of the largest,
    which is the top-1 of always predicting it; ``effective_classes`` the exponential of the entropy
    of the shares: the number of classes of equal size with the same entropy.
    """
    counts = [entry.images - entry.test for entry in classes]
    largest, smallest, total = max(counts), min(counts), sum(counts)
    shares = [number / total for number in counts if number]
    return {
        "largest": classes[counts.index(largest)].name,
        "smallest": classes[counts.index(smallest)].name,
        "ratio": largest / smallest if smallest else None,
        "majority_share": largest / total if total else None,
        "effective_classes": math.exp(-sum(share * math.log(share) for share in shares)),
    }


def few(lines: list[str], what: str) -> list[str]:
    """Return the first lines about ``what``, and one that says how many more there are."""
    shown = [f"{what}: {line}" for line in lines[:FEW]]
    return shown + ([f"{what}: {len(lines) - FEW:,} more like these"] if len(lines) > FEW else [])
