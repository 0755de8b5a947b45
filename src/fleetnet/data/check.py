"""A check of every image before training: what the data is, and what is wrong with it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fleetnet.data.contact_sheet import ContactSheets
from fleetnet.data.facts import Facts, examine
from fleetnet.data.findings import (
    Alike,
    ClassCount,
    NearDuplicates,
    Range,
    Report,
    Sizes,
    Unreadable,
    UnusedBits,
)
from fleetnet.data.names import odd_names
from fleetnet.data.near_duplicates import MAX_DISTANCE, Hasher, near_pairs, open_hasher
from fleetnet.data.sources import Source, left_out_of, notes_of
from fleetnet.data.sources.samples import (
    NO_SPLIT,
    SPLITS,
    TEST,
    TRAIN,
    VAL,
    SampleTable,
)
from fleetnet.data.splits import check_classes, split
from fleetnet.errors import DataError, ImageError
from fleetnet.reporting import Advance, Note
from fleetnet.threads import map_in_threads

MAX_PAIRS = 100_000
"""Near duplicates that are listed; if there are more, ``distance`` is too large for the data."""

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

Indices = npt.NDArray[np.intp]
Outcome = Facts | str


def check(
    source: Source,
    *,
    near: int | None = 4,
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
    columns = np.zeros(len(source.samples), _COLUMNS)
    unreadable: list[Unreadable] = []
    formats: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    turned = 0
    used_bits: list[int] = []
    for index, outcome in enumerate(_outcomes(source, hasher, drawn, workers, sample_bits)):
        if isinstance(outcome, Facts):
            _store(columns, index, outcome)
            formats[outcome.format] += 1
            modes[outcome.mode] += 1
            turned += outcome.turned
            used_bits += [] if outcome.used_bits is None else [outcome.used_bits]
        else:
            unreadable.append(Unreadable(source.samples[index].name, outcome))
        if drawn:
            drawn.add(index, outcome.thumbnail if isinstance(outcome, Facts) else None)
        if advance:
            advance(1)
    marks = _Marks(source, splits)
    groups = _same_bytes(columns)
    return Report(
        source=source.description,
        images=len(source.samples),
        multi_label=source.multi_label,
        classes=_count_classes(source, splits),
        own_split=any(sample.split for sample in source.samples),
        split_error=split_error,
        unreadable=tuple(unreadable),
        sizes=_sizes(columns[columns["readable"]], size),
        formats=dict(formats.most_common()),
        modes=dict(modes.most_common()),
        turned=turned,
        blank=tuple(source.samples[int(index)].name for index in np.flatnonzero(columns["blank"])),
        duplicates=tuple(marks.alike(group) for group in groups),
        near_duplicates=None if near is None else _near(columns, groups, near, marks),
        unused_bits=_unused_bits(used_bits),
        sheets=drawn.written if drawn else {},
        odd_names=odd_names(source),
        notes=notes_of(source),
        left_out=left_out_of(source).to_json(),
    )


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


def _same_bytes(columns: npt.NDArray[np.void]) -> list[Indices]:
    """Return the groups of readable files of identical bytes, in the order of their first."""
    readable = np.flatnonzero(columns["readable"])
    digests = columns["digest"][readable]
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: a group's indices stay sorted
    digests = digests[order]
    starts = np.flatnonzero((digests[1:] != digests[:-1]).any(axis=1)) + 1
    groups = [group for group in np.split(readable[order], starts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


class _Marks:
    """Tells of images that are alike whether they are in different classes or splits."""

    def __init__(self, source: Source, splits: Indices) -> None:
        self.samples = source.samples
        self.splits = splits

    def alike(self, indices: Sequence[int] | Indices, distance: int | None = None) -> Alike:
        members = [self.samples[int(index)] for index in indices]
        splits = {int(self.splits[index]) for index in indices}
        return Alike(
            names=tuple(member.name for member in members),
            across_classes=len({frozenset(member.labels) for member in members}) > 1,
            across_split={TRAIN} < splits,
            distance=distance,
            across_test={TRAIN, TEST} <= splits,
            across_val={TRAIN, VAL} <= splits,
        )


def _near(
    columns: npt.NDArray[np.void], groups: list[Indices], distance: int, marks: _Marks
) -> NearDuplicates:
    """Compare readable images that are not blank, only the first of identical files."""
    candidate = columns["readable"] & ~columns["blank"]
    for group in groups:
        candidate[group[1:]] = False
    indices = np.flatnonzero(candidate)
    found: list[Alike] = []
    complete = True
    for pairs in near_pairs(columns["hash"][indices], distance):
        room = MAX_PAIRS - len(found)
        if len(pairs.first) > room:
            complete = False
        ones, others = indices[pairs.first[:room]], indices[pairs.second[:room]]
        found += [
            marks.alike((one, other), int(bits))
            for one, other, bits in zip(ones, others, pairs.distance[:room], strict=True)
        ]
        if not complete:
            break
    found.sort(
        key=lambda pair: (
            not pair.across_split,
            not pair.across_classes,
            pair.distance,
            pair.names,
        )
    )
    return NearDuplicates(distance, tuple(found), complete)
