"""Training a network, and resuming a run that was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fleetnet.data.contents import NONE
from fleetnet.data.sources import Source, fingerprint
from fleetnet.data.sources.protocol import labelled_of
from fleetnet.errors import CheckpointError
from fleetnet.models.registry import find_model
from fleetnet.reporting import Advance
from fleetnet.training.callbacks import Callback, CallbackList
from fleetnet.training.checkpoint import Checkpoint, sample_bits_of, trained_images_of
from fleetnet.training.checkpointing import Checkpointing
from fleetnet.training.interruption import Interruption
from fleetnet.training.kept_memory import memory_kept
from fleetnet.training.loop import TrainingLoop
from fleetnet.training.precision import resolve
from fleetnet.training.progress import EpochRecord, Progress
from fleetnet.training.ranks import ONLY, Ranks
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_folder import RunFolder, last_checkpoint
from fleetnet.training.run_setup import (
    build_loaders,
    build_network,
    check_held_out,
    check_sample_bits,
    class_counts,
    describe_data,
    find_device,
    split_data,
)
from fleetnet.training.state import RunState
from fleetnet.training.task import MakeTask, TaskSetup, task_of
from fleetnet.training.train_step import TrainStep
from fleetnet.training.usual_task import usual_task
from fleetnet.training.validation import AnyMetrics, Validation
from fleetnet.weights.settings_file import model_named
from fleetnet.weights.subject import BEST, LAST


@dataclass(frozen=True)
class TrainResult:
    """The result of a run."""

    last: Path
    best: Path
    metrics: AnyMetrics
    """Figures on the held-out images after the last epoch."""
    history: tuple[EpochRecord, ...]
    unreadable: tuple[str, ...]


def train(
    source: Source,
    model: str,
    recipe: Recipe | None = None,
    output: str | Path = "runs/latest",
    *,
    weights: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    task: MakeTask = usual_task,
    ranks: Ranks = ONLY,
) -> TrainResult:
    """Train the network called ``model`` on the images of ``source``.

    Args:
        source: labelled images, as :func:`fleetnet.data.sources.open_source` opens them.
        model: a name as in ``fleetnet models``, or the path of a network's settings file.
        recipe: how; the default recipe if None.
        output: folder for ``last.ckpt``, ``best.ckpt``, ``recipe.yaml``, ``run.json`` and
            ``metrics.jsonl``.
        weights: a file of weights of the same network to start from, in any format that
            :func:`fleetnet.weights.create.create_model` reads; a classifier of another number of
            classes is replaced by a fresh one.
        callbacks: called during the run.
        task: makes the task that the network is trained for.
        ranks: the processes that train together; each calls this with the same arguments, inside of
            :func:`fleetnet.training.ranks.joined`.

    Raises:
        OvertakenError: another process is writing a run to ``output``.
        FleetnetError: the data, the model, the recipe or the output cannot be used, the disk is
            full, or the loss is no longer a number.
        Interrupted: SIGINT or SIGTERM came; the run is saved, and :func:`resume` continues it.
    """
    with ranks.together():
        trainer = Trainer(
            source,
            model,
            recipe or Recipe(),
            Path(output),
            weights=weights,
            task=task,
            ranks=ranks,
        )
    return trainer.fit(callbacks)


def resume(
    source: Source,
    output: str | Path,
    *,
    callbacks: Sequence[Callback] = (),
    task: MakeTask = usual_task,
    ranks: Ranks = ONLY,
) -> TrainResult:
    """Resume the run in the folder ``output`` as if it had never stopped.

    On the same machine with as many threads and processes, a run on a CPU ends with exactly the
    same weights as an uninterrupted one.

    Args:
        source: the data that the run trains on.
        output: its folder.
        callbacks: called during the run.
        task: the one that the run was started with.
        ranks: as in :func:`train`; the run may have been started with another number of them.

    Raises:
        CheckpointError: there is no checkpoint that training can resume from.
        FleetnetError: as in :func:`train`.
    """
    with ranks.together():
        trainer = Trainer.resumed(source, Path(output), task=task, ranks=ranks)
    return trainer.fit(callbacks)


class Trainer:
    """A run that is ready to start or to resume: everything is checked, nothing written yet.

    Args:
        source: as in :func:`train`, and so are ``model``, ``recipe``, ``output``, ``weights``,
            ``task`` and ``ranks``.
        advance: called with how many images were compared in the search for copies.
        continued: the checkpoint in ``output`` that the run resumes from; see :meth:`resumed`.
    """

    def __init__(
        self,
        source: Source,
        model: str,
        recipe: Recipe,
        output: Path,
        *,
        weights: str | Path | None = None,
        task: MakeTask = usual_task,
        advance: Advance = lambda _: None,
        continued: Checkpoint | None = None,
        ranks: Ranks = ONLY,
    ) -> None:
        self._folder = RunFolder(output, continued)
        self.source = source
        self.model = find_model(model_named(model)).name
        self.output = output
        self.ranks = ranks
        self.device = find_device(recipe.device, ranks)
        precision = resolve(recipe.precision, self.device)
        self.recipe = recipe.model_copy(update={"precision": precision})
        self.preprocess = recipe.input.preprocess()
        self.notes: list[str] = []
        """What the user should know before training starts."""
        self.split = split_data(source, recipe, advance, self.notes.append)
        self.train_loader, self.val_loader = build_loaders(source, self.split, recipe, ranks.place)
        if weights is not None:
            check_sample_bits(sample_bits_of(weights), recipe, self.notes.append)
        known = NONE if weights is None else trained_images_of(weights)
        check_held_out(source, self.split, known, self.notes.append)
        self.train_step = self._build_train_step(weights, task)
        self._state = RunState(self.train_step, known)
        self._interruption = Interruption()
        self._loop = self._build_loop()

    def _build_train_step(self, weights: str | Path | None, make_task: MakeTask) -> TrainStep:
        recipe, classes = self.recipe, self.source.classes
        torch.manual_seed(recipe.seed)
        network = build_network(self.model, len(classes), recipe, weights, self.notes.append)
        network = network.to(self.device)
        setup = TaskSetup(
            recipe=recipe,
            classes=classes,
            counts=class_counts(self.source, self.split),
            multi_label=self.source.multi_label,
            device=self.device,
            network=network,
            samples=len(self.source.samples),
            labelled=labelled_of(self.source),
        )
        return TrainStep(
            network,
            recipe,
            self.preprocess,
            task_of(make_task, setup),
            steps_per_epoch=math.ceil(len(self.train_loader) / recipe.optimizer.accumulate),
            ranks=self.ranks,
        )

    def _build_loop(self) -> TrainingLoop:
        unchanging = Checkpoint(
            model=self.model,
            classes=self.source.classes,
            preprocess=self.preprocess,
            state={},
            recipe=self.recipe.model_dump(mode="json"),
            data=describe_data(self.source, self.split, self.recipe),
            epoch=0,
            metrics={},
            activation=self.train_step.task.activation,
        )
        return TrainingLoop(
            self._state,
            self.recipe,
            self.preprocess,
            train_loader=self.train_loader,
            val_loader=self.val_loader,
            data=self.source.description,
            checkpointing=Checkpointing(
                self._state, unchanging, self._folder, self.recipe.checkpoint_minutes, self.ranks
            ),
            interruption=self._interruption,
            ranks=self.ranks,
        )

    @classmethod
    def resumed(
        cls,
        source: Source,
        output: Path,
        *,
        checkpoint: Checkpoint | None = None,
        task: MakeTask = usual_task,
        advance: Advance = lambda _: None,
        ranks: Ranks = ONLY,
    ) -> Trainer:
        """Return the run in ``output``, ready to resume from its last checkpoint.

        ``checkpoint`` is that checkpoint, if the caller has already read it.

        Raises:
            CheckpointError: there is none, it is of other data, or training cannot resume from it.
        """
        path = output / LAST
        checkpoint = checkpoint or last_checkpoint(output)
        if not checkpoint.training:
            raise CheckpointError(
                f"{path} holds only weights: give it to weights= instead",
                file=str(path),
                arguments=["weights"],
            )
        if fingerprint(source) != checkpoint.data.get("fingerprint"):
            raise CheckpointError(
                f"{source.description} is not the data that {path} was trained on: its images or "
                "classes have changed; start a new run with weights=",
                file=str(path),
                arguments=["weights"],
            )
        recipe = Recipe.from_values(checkpoint.recipe, f"in {path}")
        trainer = cls(
            source,
            checkpoint.model,
            recipe,
            output,
            task=task,
            advance=advance,
            continued=checkpoint,
            ranks=ranks,
        )
        try:
            trainer._state.load(checkpoint)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
            raise CheckpointError(
                f"training cannot go on from {path}: another version wrote it, or it is damaged; "
                "start a new run with weights=",
                file=str(path),
                arguments=["weights"],
            ) from None
        return trainer

    @property
    def progress(self) -> Progress:
        """The progress of the run, as last read from the device."""
        return self._state.progress

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self._loop.finished

    def fit(self, callbacks: Sequence[Callback] = ()) -> TrainResult:
        """Run all epochs that are left; see :func:`train`.

        Raises:
            OvertakenError: another run writes to the folder, or has done so since this one was
                prepared.
        """
        self.ranks.check_same(self._in_common(), "images or settings")
        with contextlib.ExitStack() as stack:
            if self.device.type == "cpu":
                stack.enter_context(memory_kept())
            with self.ranks.together():
                self._take_folder(stack)
            try:
                return self._fit(CallbackList(callbacks))
            finally:
                self.train_loader.close()
                self.val_loader.close()

    def _in_common(self) -> str:
        """Return what has to be the same in all processes that train together."""
        if self.ranks.size == 1:
            return ""
        run = [self.model, self.recipe.model_dump_json(), fingerprint(self.source)]
        split = hashlib.sha256(self.split.train.tobytes() + self.split.val.tobytes()).hexdigest()
        return "\n".join([*run, split, str(self.progress.position())])

    def _take_folder(self, stack: contextlib.ExitStack) -> None:
        """Keep other runs out of the folder, and begin to write to it."""
        if not self.ranks.is_first:
            return
        if not stack.enter_context(self._folder.taken()):
            self.notes.append(
                f"{self.output} cannot be locked on its file system: see that no other run "
                "writes it"
            )
        self._describe_run()

    def _fit(self, callback: Callback) -> TrainResult:
        with self._interruption:
            callback.on_train_start(self)
            validation = self._loop.run(callback)
        return TrainResult(
            self.output / LAST,
            self.output / BEST,
            (validation or self.validate()).metrics,
            tuple(self.progress.history),
            tuple(self._state.unreadable),
        )

    def _describe_run(self) -> None:
        """Write the files of a run for people and for ``fleetnet runs``."""
        self._folder.write_recipe(self.recipe)
        self._folder.write_network(find_model(self.model))
        if self.progress.step == 0:
            self._folder.write_description(
                {
                    "model": self.model,
                    "data": self.source.description,
                    "classes": len(self.source.classes),
                    "train_images": len(self.split.train),
                    "val_images": len(self.split.val),
                    "recipe": self.recipe.model_dump(mode="json"),
                    "device": str(self.device),
                    **self._launch(),
                }
            )
        self._folder.write_history(self.progress.history)

    def _launch(self) -> dict[str, Any]:
        """Return what the description of a run says of several processes."""
        return {
            **({"processes": self.ranks.size} if self.ranks.size > 1 else {}),
            **({"launch": self.ranks.launch} if self.ranks.launch else {}),
        }

    def validate(self) -> Validation:
        """Measure the held-out images with the current weights.

        Raises:
            DataError: none of them can be read.
        """
        return self._loop.validate()
