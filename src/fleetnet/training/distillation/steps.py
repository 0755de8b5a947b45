"""The steps of a distillation, in order; each ends at once if it was done before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from fleetnet.data.sources import Source, SourceOptions
from fleetnet.data.sources.pool import LooseImages
from fleetnet.data.splits import Split
from fleetnet.data.unlabelled import find_unlabelled
from fleetnet.errors import FleetnetError
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Advance, Begin
from fleetnet.training.distillation import Step
from fleetnet.training.distillation.opening import open_teachers
from fleetnet.training.distillation.pool import Pool, labelled_scores, write_scores
from fleetnet.training.distillation.reached import compare_with_teachers, tell_teachers
from fleetnet.training.distillation.selection import Loading, Scores, score
from fleetnet.training.distillation.teachers import Teacher
from fleetnet.training.distillation.work import (
    DISTILLED,
    FINETUNED,
    POOL,
    SELF,
    TEACHER,
    Work,
    check_source,
    check_teachers,
    taught_by,
)
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_setup import find_device, split_data
from fleetnet.training.trainer import TrainResult
from fleetnet.weights.subject import LAST


class Watcher(Protocol):
    """Who watches the steps: opens data, trains and shows how far everything is."""

    def say(self, text: str) -> None:
        """Tell what is being done."""

    def left_out(self, files: LeftOut) -> None:
        """Tell which of the unlabelled files are not used, and why."""

    def open(self, data: str, options: SourceOptions) -> Source:
        """Open labelled images."""

    def comparing(self, source: Source) -> AbstractContextManager[Advance]:
        """Show how far the comparison of a source's images, for its split, has come."""

    def steps(self) -> AbstractContextManager[Begin]:
        """Show how far one piece of work after another is."""

    def train(
        self,
        data: str,
        options: SourceOptions,
        recipe: Recipe,
        folder: Path,
        weights: str | Path | None,
    ) -> TrainResult:
        """Train the student in a folder, or go on with what was begun there."""

    def distilled(self, result: TrainResult) -> None:
        """Tell what the student reached that is to be fine-tuned now."""


class Distillation:
    """A distillation that goes on where it was stopped.

    Args:
        work: what is asked for; it is begun.
        watcher: opens, trains and shows.
    """

    def __init__(self, work: Work, watcher: Watcher) -> None:
        self.work = work
        self.watcher = watcher
        self.words: tuple[str, ...] = work.teachers

    def run(self, last: Step | None = None) -> TrainResult | None:
        """Do all steps, or those up to one; return what the last training reached, if any did.

        Raises:
            DataError: images have several labels, or no unlabelled one is left to learn from.
            FleetnetError: a teacher cannot be opened, or has other classes; or none is to be
                trained although that is the last step.
        """
        if last == "teacher" and SELF not in self.words:
            raise FleetnetError(
                "step='teacher' trains the student's network to be its own teacher, which takes "
                "teacher='self'",
                arguments=["step", "teacher"],
            )
        work = self.work
        source = self.watcher.open(work.data, work.options)
        check_source(source)
        self._train_self()
        if last == "teacher":
            return None
        with self.watcher.comparing(source) as advance:
            parts = split_data(source, work.recipe, advance, lambda _: None)
        teachers = open_teachers(
            self.words, source.classes, self._loading.device, say=self.watcher.say
        )
        check_teachers(source, parts.val, teachers, self.watcher.say)
        pool = self._pool(source, parts) if work.unlabelled else None
        work.record()
        reached = None if last == "clean" else self._reached(source, parts, teachers)
        data, scores = self._prepare(source, parts, teachers, pool, last)
        if last in ("clean", "score", "merge"):
            return None
        options = work.options if data == work.data else SourceOptions()
        recipe = taught_by(work.recipe, self.words, teachers, scores)
        result = self._train(data, options, recipe, DISTILLED, work.weights)
        if work.finetuning is not None and last != "train":
            self.watcher.distilled(result)
            own = self._own_answers(source, parts, teachers)
            recipe = taught_by(work.finetuning, self.words, teachers, own)
            start = work.folder / DISTILLED / LAST
            result = self._train(work.data, work.options, recipe, FINETUNED, start)
        if SELF not in work.teachers:
            compare_with_teachers(result, reached, self.watcher.say)
        return result

    def _train_self(self) -> None:
        """Train the student's network on the labels, if it is to be its own teacher."""
        if SELF not in self.words:
            return
        work = self.work
        work.record()
        self._train(work.data, work.options, work.plain_recipe, TEACHER, None)
        trained = str((work.folder / TEACHER).resolve())
        self.words = tuple(trained if word == SELF else word for word in self.words)

    def _reached(self, source: Source, parts: Split, teachers: Sequence[Teacher]) -> float | None:
        """Tell which share of the held-out images the teachers get right, and return it."""
        folder = self.work.folder / "answers-held-out"
        with self.watcher.steps() as begin:
            answers = score(teachers, source, parts.val, folder, begin, self._loading)
        return tell_teachers(source, parts.val, answers, len(teachers), self.watcher.say)

    def _pool(self, source: Source, parts: Split) -> Pool:
        work = self.work
        left_out = LeftOut()
        loose = LooseImages(find_unlabelled(work.unlabelled, left_out), source.classes)
        self.watcher.left_out(left_out)
        return Pool(work.folder / POOL, source, parts, loose, work.distance, work.most)

    def _prepare(
        self,
        source: Source,
        parts: Split,
        teachers: Sequence[Teacher],
        pool: Pool | None,
        last: Step | None,
    ) -> tuple[str, Path | None]:
        """Return the data to train on, and the file of answers to look up, if they are to be."""
        work, say = self.work, self.watcher.say
        if pool is None:
            return work.data, self._own_answers(source, parts, teachers)
        with self.watcher.steps() as begin:
            found = pool.clean(begin, say)
            if last == "clean":
                return work.data, None
            scores = pool.score(found, teachers, begin, loading=self._loading)
        if last == "score":
            return work.data, None
        chosen = pool.merge(found, scores, say)
        answers = self._own_answers(source, parts, teachers, scores[chosen])
        return str(pool.folder), answers

    def _own_answers(
        self,
        source: Source,
        parts: Split,
        teachers: Sequence[Teacher],
        more: Scores | None = None,
    ) -> Path | None:
        """Write the answers to the labelled images and some more, if they are to be looked up."""
        if not self.work.looked_up:
            return None
        answers = self.work.folder / "answers"
        folder = answers if more is None else self.work.folder / "answers-pool"
        with self.watcher.steps() as begin:
            found = labelled_scores(
                source, parts.train, teachers, answers, begin, loading=self._loading
            )
        return write_scores(folder, found, more)

    @property
    def _loading(self) -> Loading:
        recipe = self.work.recipe
        return Loading(recipe.batch_size, recipe.data.workers, find_device(recipe.device))

    def _train(
        self,
        data: str,
        options: SourceOptions,
        recipe: Recipe,
        name: str,
        weights: str | Path | None,
    ) -> TrainResult:
        return self.watcher.train(data, options, recipe, self.work.folder / name, weights)
