"""What a teacher says of images, computed once and kept, and which images are worth learning."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from fleetnet.data.loader import Loader
from fleetnet.data.sources import Indices, Source
from fleetnet.data.sources.protocol import fingerprint_of
from fleetnet.data.stored_rows import StoredRows
from fleetnet.reporting import Begin
from fleetnet.training.distillation.teachers import Teacher

Scores = npt.NDArray[np.float32]
"""``float32[N, K]``: logarithms of probabilities."""


class Loading(NamedTuple):
    """How images come to a teacher."""

    batch_size: int
    workers: int
    """Processes that prepare them."""
    device: torch.device
    """That the teachers compute on."""


def score(
    teachers: Sequence[Teacher],
    source: Source,
    indices: Indices,
    folder: Path,
    begin: Begin,
    loading: Loading,
) -> Scores:
    """Return the mean answer of teachers to images, each prepared as the teacher's own are.

    Every teacher's answers stay in a folder of its own below ``folder``, so that a second call goes
    on where the first one ended. An image that cannot be read gets the same answer for each class.

    Args:
        teachers: opened.
        source: of the images.
        indices: of those to ask about.
        folder: for the answers.
        begin: called with each piece of work.
        loading: how they come to the teachers.
    """
    answers = [_score(one, source, indices, folder, begin, loading) for one in teachers]
    if len(answers) == 1:
        return answers[0]
    mean = torch.from_numpy(np.stack(answers)).logsumexp(0)
    found: Scores = functional.log_softmax(mean, 1).numpy()
    return found


def best_of_each_class(scores: Scores, most: int | None) -> Indices:
    """Return the rows of the images that are most surely of the class they seem to be.

    Args:
        scores: of the images.
        most: how many of each class; None for all of them.

    Returns:
        Sorted; a class may have fewer, or none.
    """
    if not len(scores):
        return np.empty(0, np.intp)
    seems = scores.argmax(1)
    if most is None:
        return np.arange(len(scores))
    # Of equally sure ones the earlier: the order is the same on every machine.
    order = np.lexsort((np.arange(len(scores)), -scores.max(1), seems))
    of_class = seems[order]
    starts = np.searchsorted(of_class, of_class)
    chosen: Indices = np.sort(order[np.arange(len(order)) - starts < most])
    return chosen


def _score(
    teacher: Teacher,
    source: Source,
    indices: Indices,
    folder: Path,
    begin: Begin,
    loading: Loading,
) -> Scores:
    batch_size = loading.batch_size
    classes = len(source.classes)
    images = fingerprint_of(source, indices)
    key = f"{teacher.identity} {teacher.preprocess.to_json()} {images}"
    name = hashlib.sha256(teacher.identity.encode()).hexdigest()[:12]
    # A file ends with a batch, so that the loader can begin with the next one.
    rows = StoredRows(
        folder / name, key, len(indices), np.float32, (classes,), rows_a_file=8 * batch_size
    )
    advance = begin(f"asking {Path(teacher.name).name}", len(indices))
    done = rows.done
    advance(done)
    if done < len(indices):
        loader = Loader(
            source, indices, teacher.preprocess, batch_size=batch_size, workers=loading.workers
        )

        def asked(start: int) -> Iterator[npt.NDArray[np.float32]]:
            for number, batch in enumerate(loader.batches(start=start // batch_size)):
                first = start + number * batch_size
                wanted = indices[first : first + batch_size]
                given = np.full((len(wanted), classes), -np.log(classes), np.float32)
                if len(batch.labels):
                    logits = teacher.logits(batch.pixels.to(loading.device).float())
                    logs = functional.log_softmax(logits, 1).cpu().numpy()
                    given[np.isin(wanted, batch.indices.numpy())] = logs
                advance(len(wanted))
                yield from given

        try:
            rows.fill(asked(done))
        finally:
            loader.close()
    found: Scores = rows.array()
    return found
