"""Training the candidates of a search."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from fleetnet.data.sources import Source
from fleetnet.data.splits import Split
from fleetnet.errors import DataError, the_first
from fleetnet.reporting import Fetched
from fleetnet.training.callbacks import Callback, CallbackList
from fleetnet.training.kept_memory import memory_kept
from fleetnet.training.progress import EpochRecord
from fleetnet.training.search.candidates import Candidate
from fleetnet.training.search.halving import Clock, Job
from fleetnet.training.step_results import read_results
from fleetnet.training.trainer import Trainer
from fleetnet.weights.subject import LAST, file_of, find_weights_for

WARM, TIMED = 2, 4
"""Batches before those that are timed, and those."""
VALIDATED = 0.35
"""The time of an image that is only answered, as a share of one that is trained on."""


class _OutOfTime(Exception):  # noqa: N818 - nothing is wrong
    """Ends a training from within."""


class _Watching(Callback):
    """Asks the search whether to go on."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def on_step(self, images: int, lr: float) -> None:
        """Give up where there is no time left."""
        del images, lr
        if not self._job.in_time():
            raise _OutOfTime

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Tell of an epoch, which is saved by now."""
        if not self._job.epoch_ended(record):
            raise _OutOfTime


class TrainingWork:
    """Trains candidates on a source: those of a search on its inner part, the best on all of it.

    Args:
        source: the images.
        inner: the training part of them, to be split again.
        parts: the split of the source.
        inner_parts: the split of the inner part.
        settings: of the user, for every candidate.
        clock: measures an epoch.
        callback: sees all trainings, to show them.
        unreadable: called with a line for each image that could not be read.
    """

    def __init__(
        self,
        source: Source,
        inner: Source,
        parts: Split,
        inner_parts: Split,
        *,
        settings: Sequence[str],
        clock: Clock,
        callback: Callback | None = None,
        unreadable: Callable[[Sequence[str]], None] = lambda _: None,
        fetched: Fetched = lambda _have, _total: None,
    ) -> None:
        self._source, self._inner = source, inner
        self._inner_parts = inner_parts
        self._settings = tuple(settings)
        self._clock = clock
        self._callback = callback or Callback()
        self._unreadable = unreadable
        self._fetched = fetched
        self.growth = _work_of(parts) / _work_of(inner_parts)

    def lr(self, candidate: Candidate, epochs: int) -> float:
        """Return the highest learning rate of a candidate."""
        return candidate.training(epochs, self._settings).lr

    @memory_kept()
    def epoch_s(self, candidate: Candidate) -> float:
        """Time some batches, and return the seconds of an epoch on the inner images.

        Raises:
            DataError: none of the images can be read.
        """
        recipe = candidate.training(1, self._settings)
        trainer = Trainer(
            self._inner, candidate.model, recipe, Path(), weights=self._file(candidate)
        )
        step = trainer.train_step
        step.begin_epoch(1)
        try:
            # Small data has fewer batches than that in an epoch.
            epochs = map(trainer.train_loader.batches, itertools.count(1))
            loaded = itertools.chain.from_iterable(itertools.islice(epochs, WARM + TIMED))
            timed, started, images, unreadable = 0, self._clock(), 0, list[str]()
            for batch in loaded:
                unreadable.extend(batch.unreadable)
                if len(batch.labels) < 2:
                    continue
                read_results([step.take([batch], timed)])
                timed += 1
                if timed == WARM:
                    started, images = self._clock(), 0
                else:
                    images += len(batch.labels)
                if timed == WARM + TIMED:
                    break
            seconds = self._clock() - started
        finally:
            trainer.train_loader.close()
            trainer.val_loader.close()
        if not images:
            raise DataError(
                f"no image of {self._inner.description} could be read{the_first(unreadable)}"
            )
        return max(seconds, 1e-6) / images * _work_of(self._inner_parts)

    def train(self, job: Job) -> bool:
        """Train, and tell whether all epochs were done."""
        trainer = self._trainer(job)
        for record in trainer.progress.history:
            job.epoch_ended(record)
        try:
            result = trainer.fit([CallbackList([self._callback, _Watching(job)])])
        except _OutOfTime:
            return False
        self._unreadable(result.unreadable)
        return True

    def _trainer(self, job: Job) -> Trainer:
        source = self._source if job.whole else self._inner
        if (job.folder / LAST).exists():
            return Trainer.resumed(source, job.folder)
        shutil.rmtree(job.folder, ignore_errors=True)
        recipe = job.candidate.training(job.epochs, self._settings)
        weights = job.weights or self._file(job.candidate)
        return Trainer(source, job.candidate.model, recipe, job.folder, weights=weights)

    def _file(self, candidate: Candidate) -> Path | None:
        """Return the candidate's own weights, which are here already."""
        if candidate.weights is None:
            return None
        subject = find_weights_for(candidate.model, candidate.weights)
        return file_of(subject, offline=True, fetched=self._fetched)


def _work_of(parts: Split) -> float:
    """Return how many images an epoch trains on, those that it only answers counted in part."""
    return len(parts.train) + VALIDATED * len(parts.val)
