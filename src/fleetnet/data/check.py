"""A check of every image before training: what the data is, and what is wrong with it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetnet.data.alike import Marks, near_duplicates, same_bytes
from fleetnet.data.contact_sheet import ContactSheets
from fleetnet.data.facts import Facts, examine
from fleetnet.data.findings import (
    ClassCount,
    Range,
    Report,
    Sizes,
    Unreadable,
    UnusedBits,
)
from fleetnet.data.names import odd_names
from fleetnet.data.near_duplicates import MAX_DISTANCE, USUAL_DISTANCE, Hasher, open_hasher
from fleetnet.data.sources import Source, left_out_of, notes_of
from fleetnet.data.sources.samples import (
    NO_SPLIT,
    SPLITS,
    TEST,
    TRAIN,
    VAL,
    SampleTable,
)
from fleetnet.data.splits import Indices, check_classes, split
from fleetnet.errors import DataError, ImageError
from fleetnet.reporting import Advance, Note
from fleetnet.threads import map_in_threads

MOST_UNUSED = 14
"""Above so many used bits, pictures of 16 bits may simply be dark."""

_COLUMNS = np.dtype(
    [
        ("readable", "?"),
        ("blank", "?"),
        ("bytes", "i8"),
        ("width", "i4"),
        ("height", "i4"),
        ("hash", "u8"),
        ("digest", "u8", 2),
    ]
)

Outcome = Facts | str


def check(
    source: Source,
    *,
    near: int | None = USUAL_DISTANCE,
    size: int = 224,
    val_fraction: float = 0.25,
    seed: int = 0,
    sheets: Path | None = None,
    workers: int | None = None,
    sample_bits: int | None = None,
    advance: Advance | None = None,
) -> Report:
    """Read every image of ``source`` once, in several threads, and report on all of them.

    Memory is about 60 bytes per image, the images that the threads decode, and the thumbnails of
    the classes that are not complete yet.

    Args:
        source: labelled images; its ``read`` is called from several threads.
        near: in how many of the 64 bits of the perceptual hash near duplicates may differ; None
            does not look for them.
        size: side of the network's input, px.
        val_fraction: share held out, as in training.
        seed: of the split, as in training.
        sheets: folder for a contact sheet of each class.
        workers: threads; if None, as many as this process may use processors, at most 16.
        sample_bits: how many bits of 16-bit samples are used, as in training.
        advance: called with a count as images are done.

    Raises:
        DataError: ``near`` is out of range.
        FleetnetError: ImageHash is not installed, or a sheet cannot be written.
    """
    if near is not None and not 0 <= near <= MAX_DISTANCE:
        raise DataError(f"near must be from 0 to {MAX_DISTANCE} of 64 bits, not {near}")
    hasher = None if near is None else open_hasher()
    splits, split_error = _splits(source, val_fraction, seed)
    drawn = ContactSheets(source, splits == VAL, sheets, splits == TEST) if sheets else None
    seen = _Seen(source)
    for index, outcome in enumerate(_outcomes(source, hasher, drawn, workers, sample_bits)):
        seen.add(index, outcome)
        if drawn:
            drawn.add(index, outcome.thumbnail if isinstance(outcome, Facts) else None)
        if advance:
            advance(1)
    columns, marks = seen.columns, Marks(source, splits)
    groups = same_bytes(columns)
    return Report(
        source=source.description,
        images=len(source.samples),
        multi_label=source.multi_label,
        classes=_count_classes(source, splits),
        own_split=any(sample.split for sample in source.samples),
        split_error=split_error,
        unreadable=tuple(seen.unreadable),
        sizes=_sizes(columns[columns["readable"]], size),
        formats=dict(seen.formats.most_common()),
        modes=dict(seen.modes.most_common()),
        turned=seen.turned,
        blank=tuple(source.samples[int(index)].name for index in np.flatnonzero(columns["blank"])),
        duplicates=tuple(marks.alike(group) for group in groups),
        near_duplicates=None if near is None else near_duplicates(columns, groups, near, marks),
        unused_bits=_unused_bits(seen.used_bits),
        sheets=drawn.written if drawn else {},
        odd_names=odd_names(source),
        notes=notes_of(source),
        left_out=left_out_of(source).to_json(),
    )


class _Seen:
    """What is known of the images that were read, in columns and counts."""

    def __init__(self, source: Source) -> None:
        self.samples = source.samples
        self.columns = np.zeros(len(source.samples), _COLUMNS)
        self.unreadable: list[Unreadable] = []
        self.formats: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.turned = 0
        self.used_bits: list[int] = []

    def add(self, index: int, outcome: Outcome) -> None:
        """Add the next image, or why it cannot be read."""
        if isinstance(outcome, str):
            self.unreadable.append(Unreadable(self.samples[index].name, outcome))
            return
        _store(self.columns, index, outcome)
        self.formats[outcome.format] += 1
        self.modes[outcome.mode] += 1
        self.turned += outcome.turned
        if outcome.used_bits is not None:
            self.used_bits.append(outcome.used_bits)


def _splits(source: Source, val_fraction: float, seed: int) -> tuple[Indices, str | None]:
    """Return the split of every sample as a code, or why the data cannot be split."""
    splits = np.full(len(source.samples), NO_SPLIT)
    try:
        check_classes(source)
        found = split(source, val_fraction, seed)
    except DataError as error:
        return splits, Note.of(error)
    splits[found.train], splits[found.val], splits[found.test] = TRAIN, VAL, TEST
    # Training leaves these out, but in the data they are both trained on and held out.
    splits[found.dropped] = TRAIN
    return splits, None


def _outcomes(
    source: Source,
    hasher: Hasher | None,
    drawn: ContactSheets | None,
    workers: int | None,
    sample_bits: int | None,
) -> Iterator[Outcome]:
    """Examine all images, in order; Pillow lets other threads run while it decodes."""

    def outcome(index: int) -> Outcome:
        try:
            data = source.read(index)
            wanted = drawn is not None and drawn.wants(index)
            return examine(data, hasher, thumbnail=wanted, sample_bits=sample_bits)
        except ImageError as error:
            return str(error)

    return map_in_threads(outcome, range(len(source.samples)), workers or _processors())


def _processors() -> int:
    # sched_getaffinity respects containers and taskset, but not every system has it.
    allowed = getattr(os, "sched_getaffinity", None)
    return min(len(allowed(0)) if allowed else os.cpu_count() or 1, 16)


def _store(columns: npt.NDArray[np.void], index: int, facts: Facts) -> None:
    digest = np.frombuffer(facts.digest, "u8")
    columns[index] = (
        True,
        facts.blank,
        facts.file_size,
        facts.width,
        facts.height,
        facts.hash,
        digest,
    )


def _unused_bits(used: list[int]) -> UnusedBits | None:
    """Return the bits that all images of 16 bits use together: a single one may just be dark."""
    if not used or max(used) > MOST_UNUSED:
        return None
    return UnusedBits(images=len(used), used=max(used))


def _count_classes(source: Source, splits: Indices) -> tuple[ClassCount, ...]:
    table = SampleTable.of(source.samples)
    counts = np.stack(
        [
            table.label_counts(np.flatnonzero(splits == code), len(source.classes))
            for code in range(len(SPLITS))
        ],
        axis=1,
    )
    return tuple(
        ClassCount(name, int(row.sum()), int(row[TRAIN]), int(row[VAL]), int(row[TEST]))
        for name, row in zip(source.classes, counts, strict=True)
    )


def _sizes(columns: npt.NDArray[np.void], size: int) -> Sizes | None:
    if not len(columns):
        return None
    width, height = columns["width"], columns["height"]
    short = np.minimum(width, height)
    return Sizes(
        width=_range(width),
        height=_range(height),
        short_side=_range(short),
        aspect_ratio=_range(np.maximum(width, height) / short),
        bytes=_range(columns["bytes"]),
        total_bytes=int(columns["bytes"].sum()),
        input=size,
        below_input=int((short < size).sum()),
    )


def _range(values: npt.NDArray[np.generic]) -> Range:
    least, median, most = np.percentile(values.astype(float), (0, 50, 100))
    return Range(float(least), float(median), float(most))
