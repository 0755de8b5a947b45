"""From unlabelled images to a pool to distil on, in steps that go on where they were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.sources import Indices, Source
from fleetnet.data.sources.pool import LooseImages, write_pool
from fleetnet.data.sources.samples import TEST, TRAIN, VAL
from fleetnet.data.splits import Split
from fleetnet.data.unlabelled import SHEET, Cleaning, clean
from fleetnet.errors import DataError
from fleetnet.files import atomic_file
from fleetnet.reporting import Begin, Say
from fleetnet.training.distillation.selection import (
    Loading,
    Scores,
    best_of_each_class,
    score,
)
from fleetnet.training.distillation.teachers import Teacher

SCORES = "scores.npy"


@dataclass(frozen=True)
class Pool:
    """What a pool is made of.

    Attributes:
        folder: where it, and all that is computed for it, is kept.
        source: the labelled images.
        parts: their split.
        loose: the unlabelled images.
        distance: in how many bits the hashes of near duplicates may differ.
        most: how many images are chosen for each class that they seem to be; None for all.
    """

    folder: Path
    source: Source
    parts: Split
    loose: LooseImages
    distance: int
    most: int | None

    def clean(self, begin: Begin, say: Say) -> Cleaning:
        """Remove what is held out; see :func:`fleetnet.data.unlabelled.clean`."""
        held_out = np.concatenate([self.parts.val, self.parts.test])
        found = clean(self.loose, self.source, held_out, self.distance, self.folder, begin)
        say(found.line)
        if found.copies:
            say(f"what was removed: {self.folder / SHEET}")
        if not found.kept.any():
            raise DataError("no unlabelled image is left to learn from")
        return found

    def score(
        self, found: Cleaning, teachers: Sequence[Teacher], begin: Begin, *, loading: Loading
    ) -> Scores:
        """Return the teachers' answers to the images that are left."""
        left = np.flatnonzero(found.kept)
        return score(teachers, self.loose, left, self.folder / "scores", begin, loading)

    def merge(self, found: Cleaning, scores: Scores, say: Say) -> Indices:
        """Choose images, write labelled and chosen ones as one source, and return their rows."""
        chosen = best_of_each_class(scores, self.most)
        labels = scores[chosen].argmax(1)
        kept = np.flatnonzero(found.kept)[chosen]
        splits = np.full(len(self.source.samples), TRAIN, np.int8)
        splits[self.parts.val], splits[self.parts.test] = VAL, TEST
        paths = [self.loose.samples[int(index)].name for index in kept]
        write_pool(self.folder, self.source, splits, paths, labels)
        numbers = np.bincount(labels, minlength=len(self.source.classes))
        say(
            f"{count(len(chosen), 'image')} chosen, {int(numbers.min()):,} to "
            f"{int(numbers.max()):,} of each class as the teacher sees them"
        )
        return chosen


def labelled_scores(
    source: Source,
    train: Indices,
    teachers: Sequence[Teacher],
    folder: Path,
    begin: Begin,
    *,
    loading: Loading,
) -> Scores:
    """Return teachers' answers to all labelled images; of those not trained on they say nothing."""
    answers = score(teachers, source, train, folder, begin, loading)
    shape = len(source.samples), len(source.classes)
    found = np.full(shape, -np.log(shape[1]), np.float32)
    found[train] = answers
    return found


def write_scores(folder: Path, scores: Scores, more: Scores | None = None) -> Path:
    """Write answers to look up, some more after those, and return the file.

    :func:`fleetnet.training.distillation.scores.read_scores` reads it.
    """
    path = folder / SCORES
    content = scores if more is None else np.concatenate([scores, more])
    with atomic_file(path) as temporary, temporary.open("wb") as out:
        np.save(out, content, allow_pickle=False)
    return path
