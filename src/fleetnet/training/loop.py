"""The loop over epochs and steps: when to read figures, to validate, to save and to stop."""

from __future__ import annotations

import itertools
import math
import signal
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.data.batches import Batch
from fleetnet.data.loader import Loader
from fleetnet.errors import DataError, Interrupted, the_first
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.preprocess import Preprocess
from fleetnet.training import step_results
from fleetnet.training.callbacks import Callback, Figures
from fleetnet.training.checkpointing import Checkpointing
from fleetnet.training.device_copies import copied_ahead
from fleetnet.training.early_stopping import stops_early
from fleetnet.training.interruption import Interruption
from fleetnet.training.progress import EpochRecord
from fleetnet.training.ranks import ONLY, Ranks
from fleetnet.training.recipe import Recipe
from fleetnet.training.state import RunState
from fleetnet.training.step_results import StepOutput, read_results
from fleetnet.training.validation import Logits, Validation


class _Unread(NamedTuple):
    """A finished step whose figures are still on the device."""

    output: StepOutput
    batches: int
    seconds: float


class _Answers(NamedTuple):
    """What a process has found out about its shares of the held-out images; a list per batch."""

    logits: list[Logits]
    labels: list[npt.NDArray[np.generic]]
    indices: list[npt.NDArray[np.int64]]
    unreadable: list[str]


class _Agreed(NamedTuple):
    """What the processes that train together do next; the first one decides on what has time."""

    images: int
    """In their shares of a batch together."""
    signal: signal.Signals | None
    """One of them was asked to end by it."""
    save: bool
    read: bool


class TrainingLoop:
    """Trains the rest of a run.

    Args:
        state: the run's state, which the loop updates.
        recipe: of the run.
        preprocess: of its images.
        train_loader: batches to train on.
        val_loader: batches to validate with.
        data: describes the source, for messages.
        checkpointing: saves the state.
        interruption: says when to stop; the caller of :meth:`run` has to enter it.
        ranks: the processes that train together; each of them runs this loop.
    """

    def __init__(
        self,
        state: RunState,
        recipe: Recipe,
        preprocess: Preprocess,
        *,
        train_loader: Loader,
        val_loader: Loader,
        data: str,
        checkpointing: Checkpointing,
        interruption: Interruption,
        ranks: Ranks = ONLY,
    ) -> None:
        self.state = state
        self.recipe = recipe
        self.preprocess = preprocess
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.data = data
        self._checkpointing = checkpointing
        self._interruption = interruption
        self._ranks = ranks
        self._callback = Callback()
        self._unread: list[_Unread] = []
        self._read_at = 0.0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        progress = self.state.progress
        return progress.epoch > self.recipe.epochs or stops_early(
            self.recipe.stop, progress.history
        )

    def run(self, callback: Callback) -> Validation | None:
        """Train all epochs that are left and return the figures of the last one.

        Raises:
            FleetnetError: images cannot be read, the disk is full, or the loss is not a number.
            Interrupted: a signal ended the run, which is saved.
        """
        self._callback = callback
        self._checkpointing.start()
        validation = None
        while not self.finished:
            validation = self._epoch()
        return validation

    def _epoch(self) -> Validation:
        """Train the rest of the current epoch, validate and save."""
        progress = self.state.progress
        self._callback.on_epoch_start(progress.epoch, self.train_loader.images, progress.images)
        self._train_epoch()
        if not progress.images:
            raise DataError(
                f"no image of {self.data} could be read{the_first(self.state.unreadable)}"
            )
        validation = self.validate()
        record = EpochRecord(
            epoch=progress.epoch,
            lr=self.state.train_step.schedule.lr_at(progress.step - 1),
            train_loss=progress.loss,
            train_top1=progress.train_top1,
            top1=validation.top1,
            top5=validation.top5,
            images_per_s=progress.images / max(progress.seconds, 1e-9),
            seconds=progress.seconds,
            mean_average_precision=validation.mean_average_precision,
        )
        progress.end_epoch(record)
        self._checkpointing.save_epoch(validation.metrics)
        self._callback.on_epoch_end(record)
        return validation

    def _train_epoch(self) -> None:
        progress, train_step = self.state.progress, self.state.train_step
        train_step.begin_epoch(progress.epoch)
        loaded = self.train_loader.batches(progress.epoch, progress.batch)
        batches = self._watched(copied_ahead(loaded, train_step.device))
        started = time.perf_counter()
        while group := list(itertools.islice(batches, self.recipe.optimizer.accumulate)):
            readable = [(batch, agreed) for batch, agreed in group if agreed.images]
            if not readable:
                progress.batch += len(group)
                continue
            for batch, _ in readable:
                self.state.trained_images.add(batch.contents)
            output = train_step.take(
                [batch for batch, _ in readable],
                progress.step + len(self._unread),
                images=[agreed.images for _, agreed in readable],
            )
            self._unread.append(_Unread(output, len(group), time.perf_counter() - started))
            self._callback.on_step(sum(output.images), output.lr)
            self._read_or_save([agreed for _, agreed in group])
            started = time.perf_counter()
        self._read()

    def _read_or_save(self, agreed: Sequence[_Agreed]) -> None:
        """Do what was agreed on with one of the batches of a step."""
        if any(one.save for one in agreed):
            self._read()
            self._checkpointing.save()
        steps = self.state.progress.step + len(self._unread)
        if steps % step_results.READ_STEPS == 0 or any(one.read for one in agreed):
            self._read()

    def _read(self) -> None:
        """Wait for the device, and count the steps taken since the last time.

        Raises:
            FleetnetError: a loss is not a number.
        """
        if not self._unread:
            return
        started, progress = time.perf_counter(), self.state.progress
        unread, self._unread = self._unread, []
        results = read_results([step.output for step in unread])
        for step, result in zip(unread, results, strict=True):
            if not math.isfinite(result.loss):
                raise self._checkpointing.diverged(f"the loss turned {result.loss}")
            progress.add(result, step.batches, step.seconds)
        progress.seconds += time.perf_counter() - started
        self._read_at = time.monotonic()
        images = sum(result.images for result in results)
        self._callback.on_figures(
            Figures(images, progress.loss, progress.train_top1, results[-1].lr)
        )

    def _watched(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, _Agreed]]:
        """Yield batches and record unreadable images; end if a signal asks for it."""
        for batch in batches:
            agreed = self._agreed(len(batch.labels))
            self._end_if_asked(agreed)
            self.state.unreadable.update(dict.fromkeys(batch.unreadable))
            yield batch, agreed
        self._end_if_asked(self._agreed(0))

    def _agreed(self, images: int) -> _Agreed:
        """Agree with the other processes on what to do next; ``images`` are in this one's share."""
        asked = self._interruption.signal
        waited = time.monotonic() - self._read_at
        told = self._ranks.told(
            images,
            0 if asked is None else int(asked),
            self._checkpointing.due,
            waited >= step_results.READ_SECONDS,
        )
        number = max(one[1] for one in told)
        return _Agreed(
            images=sum(one[0] for one in told),
            signal=signal.Signals(number) if number else None,
            save=bool(told[0][2]),
            read=bool(told[0][3]),
        )

    def validate(self) -> Validation:
        """Measure the held-out images with the current weights.

        Raises:
            DataError: none of them can be read.
        """
        answers = _Answers([], [], [], [])
        with TorchEngine(self.state.train_step.evaluated, self.preprocess) as engine:
            for batch, _ in self._watched(self.val_loader.batches()):
                self.state.held_out_images.add(batch.contents)
                answers.unreadable.extend(batch.unreadable)
                if len(batch.labels):
                    answers.logits.append(engine.run(batch.pixels.numpy()))
                    answers.labels.append(batch.labels.numpy())
                    answers.indices.append(batch.indices.numpy())
        collected = self._ranks.collected(answers)
        return self._ranks.from_first(lambda: self._measured(collected))

    def _measured(self, collected: Sequence[_Answers]) -> Validation:
        """Return the figures from the answers of all processes, each image's once."""
        logits, labels, indices, unreadable = (
            [*itertools.chain.from_iterable(parts)] for parts in zip(*collected, strict=True)
        )
        if not labels:
            raise DataError(
                f"no held-out image of {self.data} could be read{the_first(unreadable)}"
            )
        # In the order of the images, whichever process had them.
        order = np.argsort(np.concatenate(indices), kind="stable")
        task = self.state.train_step.task
        return task.validate(np.concatenate(logits)[order], np.concatenate(labels)[order])

    def _end_if_asked(self, agreed: _Agreed) -> None:
        """Save and leave, if a signal asked for it."""
        number = agreed.signal
        if number is None:
            return
        self._read()
        self._checkpointing.save()
        epoch = min(self.state.progress.epoch, self.recipe.epochs)
        raise Interrupted(
            f"stopped by {number.name} in epoch {epoch} of {self.recipe.epochs}, all saved; go on "
            f"with resume='{self._checkpointing.folder.path}'",
            128 + number,
            arguments=["resume"],
        )
