"""The loop that trains a network."""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fleetnet.data.augment import Augment
from fleetnet.data.contents import NONE, Remembered, are_among
from fleetnet.data.duplicates import Advance
from fleetnet.data.loader import Batch, Loader
from fleetnet.data.sources import Source, fingerprint
from fleetnet.data.sources.samples import SampleTable
from fleetnet.data.splits import Split, check_classes, split
from fleetnet.errors import (
    CheckpointError,
    DataError,
    FleetnetError,
    Interrupted,
    OvertakenError,
    the_first,
)
from fleetnet.files import NOTHING, atomic_file, standing
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.models.network import Network
from fleetnet.models.registry import find_model
from fleetnet.training.checkpoint import Checkpoint, sample_bits_of, trained_images_of
from fleetnet.training.claim import claim
from fleetnet.training.interruption import Interruption
from fleetnet.training.judgement import AnyMetrics, Judgement, judge
from fleetnet.training.learner import Learner, plain
from fleetnet.training.precision import resolve
from fleetnet.training.progress import EpochRecord, Progress
from fleetnet.training.recipe import Recipe
from fleetnet.training.runs import DESCRIPTION, METRICS, RECIPE
from fleetnet.weights.create import create_model
from fleetnet.weights.subject import BEST, LAST


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves behind."""

    last: Path
    best: Path
    metrics: AnyMetrics
    """Of the held-out images after the last epoch."""
    history: tuple[EpochRecord, ...]
    unreadable: tuple[str, ...]


class Observer(Protocol):
    """Is told how a run goes; the command line draws its progress bar from this."""

    def start(self, run: Trainer) -> None:
        """All is checked and training begins, or goes on."""
        ...

    def epoch(self, number: int, images: int, done: int) -> None:
        """Epoch ``number``, from 1, of ``images`` images begins, or goes on after ``done``."""
        ...

    def step(self, images: int, loss: float, top1: float, lr: float) -> None:
        """A step is done; ``loss`` and ``top1`` are means over the epoch so far."""
        ...

    def done(self, record: EpochRecord) -> None:
        """The epoch is trained, evaluated and saved."""
        ...


class Silent:
    """An observer that says nothing."""

    def start(self, run: Trainer) -> None:
        """Do nothing."""

    def epoch(self, number: int, images: int, done: int) -> None:
        """Do nothing."""

    def step(self, images: int, loss: float, top1: float, lr: float) -> None:
        """Do nothing."""

    def done(self, record: EpochRecord) -> None:
        """Do nothing."""


def train(
    source: Source,
    model: str,
    recipe: Recipe | None = None,
    output: str | Path = "runs/latest",
    *,
    weights: str | Path | None = None,
    observer: Observer | None = None,
) -> TrainResult:
    """Train the network called ``model`` on the images of ``source``.

    Args:
        source: labelled images, as :func:`fleetnet.data.sources.open_source` opens them.
        model: a name as in ``fleetnet models``.
        recipe: how; the default recipe if None.
        output: folder for ``last.ckpt``, ``best.ckpt``, ``recipe.yaml``, ``run.json`` and
            ``metrics.jsonl``.
        weights: a file of weights of the same network to start from, in any format that
            :func:`fleetnet.weights.create.create_model` reads; a classifier of another number of
            classes is replaced by a fresh one.
        observer: is told how it goes.

    Raises:
        OvertakenError: another process is writing a run to ``output``.
        FleetnetError: the data, the model, the recipe or the output cannot be used, the disk is
            full, or the loss is no longer a number.
        Interrupted: SIGINT or SIGTERM came; the run is saved and :func:`resume` goes on with it.
    """
    trainer = Trainer(source, model, recipe or Recipe(), Path(output), weights=weights)
    return trainer.fit(observer or Silent())


def resume(source: Source, output: str | Path, *, observer: Observer | None = None) -> TrainResult:
    """Go on with the run in the folder ``output`` as if it had never stopped.

    On the same machine with as many threads, a run on a CPU ends with the very weights of an
    uninterrupted one, to the bit.

    Args:
        source: the data that the run trains on.
        output: its folder.
        observer: is told how it goes.

    Raises:
        CheckpointError: there is no checkpoint, or none that training can go on from.
        FleetnetError: as of :func:`train`.
    """
    return Trainer.resumed(source, Path(output)).fit(observer or Silent())


class Trainer:
    """A run that is ready to start or to go on: everything checked, nothing written yet."""

    def __init__(
        self,
        source: Source,
        model: str,
        recipe: Recipe,
        output: Path,
        *,
        weights: str | Path | None = None,
        advance: Advance = lambda _: None,
    ) -> None:
        self._found = standing(output / LAST)
        self._fresh = True
        self.source = source
        self.model = find_model(model).name
        self.device = _device(recipe.device)
        precision = resolve(recipe.precision, self.device)
        self.recipe = recipe.model_copy(update={"precision": precision})
        self.output = output
        self.preprocess = recipe.input.preprocess()
        check_classes(source)
        self.split: Split = split(source, recipe.data.val_fraction, recipe.seed, advance=advance)
        if len(self.split.train) < 2 or not len(self.split.val):
            raise DataError(f"{source.description} has too few images to train and to hold out")
        self._data = self._describe_data()
        self._unreadable: dict[str, None] = {}
        self.notes: list[str] = []
        """What a person should know before training starts."""
        if len(self.split.dropped):
            self.notes.append(
                f"{len(self.split.dropped)} training images are held out or tested too, under "
                "other names, and were dropped"
            )
        if weights is not None:
            self._compare_bits(sample_bits_of(weights))
        self.progress = Progress()
        self.train_loader, self.val_loader = self._loaders()
        self._trained_images = Remembered(NONE if weights is None else trained_images_of(weights))
        self._held_out_images = Remembered()
        self._remembers = True
        self._check_held_out()
        torch.manual_seed(recipe.seed)
        self.learner = Learner(
            self._build_network(weights),
            self.recipe,
            self.preprocess,
            counts=self._class_counts(),
            multi_label=source.multi_label,
            steps_per_epoch=math.ceil(len(self.train_loader) / recipe.optimizer.accumulate),
        )
        self._interruption = Interruption()
        self._saved_at = 0.0

    @classmethod
    def resumed(
        cls,
        source: Source,
        output: Path,
        *,
        checkpoint: Checkpoint | None = None,
        advance: Advance = lambda _: None,
    ) -> Trainer:
        """Return the run in ``output``, ready to go on where its last checkpoint was written.

        ``checkpoint`` is that checkpoint, where the caller has read it already.

        Raises:
            CheckpointError: there is none, it is of other data, or training cannot go on from it.
        """
        path = output / LAST
        checkpoint = checkpoint or last_checkpoint(output)
        if not checkpoint.training:
            raise CheckpointError(f"{path} holds weights alone: give it to --weights instead")
        if fingerprint(source) != checkpoint.data.get("fingerprint"):
            raise CheckpointError(
                f"{source.description} is not the data that {path} was trained on: its images or "
                "classes have changed; start a new run with --weights"
            )
        recipe = Recipe.from_values(checkpoint.recipe, f"in {path}")
        trainer = cls(source, checkpoint.model, recipe, output, advance=advance)
        try:
            trainer._load(checkpoint)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
            raise CheckpointError(
                f"training cannot go on from {path}: another version wrote it, or it is damaged; "
                "start a new run with --weights"
            ) from None
        return trainer

    def _load(self, checkpoint: Checkpoint) -> None:
        self._found, self._fresh = checkpoint.found, False
        self.learner.load_state(checkpoint.training, checkpoint.state)
        history = [EpochRecord(**record) for record in checkpoint.history]
        self.progress = Progress(**checkpoint.training["progress"], history=history)
        self._unreadable = dict.fromkeys(map(str, checkpoint.training["unreadable"]))
        # Of a run that an older version began, what it was trained on until now is not known.
        self._remembers = self.progress.step == 0 or len(checkpoint.trained_images) > 0
        self._trained_images.add(checkpoint.trained_images)
        self._held_out_images.add(checkpoint.held_out_images)

    def _describe_data(self) -> dict[str, Any]:
        """Return what every checkpoint says of the data; the fingerprint reads all names."""
        return {
            "spec": self.source.spec,
            "description": self.source.description,
            "fingerprint": fingerprint(self.source),
            "val_fraction": self.recipe.data.val_fraction,
            "seed": self.recipe.seed,
            "train_images": len(self.split.train),
            "val_images": len(self.split.val),
        }

    def _compare_bits(self, before: int | None) -> None:
        """Note where the weights to start from saw 16-bit images otherwise scaled."""
        now = self.preprocess.sample_bits
        if before is not None and before != now:
            self.notes.append(
                f"the weights were trained with input.sample_bits={before}, this run has "
                f"{now or 'none'}: where the images are alike, --set input.sample_bits={before}"
            )

    def _check_held_out(self) -> None:
        """Note how many held-out images the weights to start from were trained on."""
        known = self._trained_images.contents()
        if not len(known):
            return
        count = int(are_among(self.source, self.split.val, known).sum())
        if count:
            self.notes.append(
                f"the weights to start from were trained on {count} of the {len(self.split.val)} "
                "held-out images: figures of those flatter; fleetnet evaluate leaves them out"
            )

    def _build_network(self, weights: str | Path | None) -> Network:
        arguments: dict[str, Any] = {"drop_path": self.recipe.model.drop_path}
        if self.recipe.model.dropout is not None:
            arguments["dropout"] = self.recipe.model.dropout
        network = create_model(
            self.model,
            len(self.source.classes),
            weights,
            replace_head=True,
            say=self.notes.append,
            **arguments,
        )
        if self.recipe.model.zero_init and weights is None:
            network.zero_residuals()
        return network.to(self.device)

    def _class_counts(self) -> list[int]:
        """Return how many training images each class has."""
        table = SampleTable.of(self.source.samples)
        counts: list[int] = table.label_counts(self.split.train, len(self.source.classes)).tolist()
        return counts

    def _loaders(self) -> tuple[Loader, Loader]:
        recipe = self.recipe
        train_loader = Loader(
            self.source,
            self.split.train,
            self.preprocess,
            batch_size=recipe.batch_size,
            workers=recipe.data.workers,
            augment=Augment(
                self.preprocess,
                **recipe.augment.model_dump(exclude={"mixup", "cutmix", "mix_probability"}),
            ),
            seed=recipe.seed,
            **recipe.data.model_dump(include={"sampling", "repeats", "buffer", "strict"}),
        )
        val_loader = Loader(
            self.source,
            self.split.val,
            self.preprocess,
            batch_size=recipe.batch_size,
            workers=recipe.data.workers,
            strict=recipe.data.strict,
        )
        return train_loader, val_loader

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        patience = self.recipe.stop.patience
        idle = self.progress.epochs_without_gain(self.recipe.stop.min_delta)
        return self.progress.epoch > self.recipe.epochs or 0 < patience <= idle

    def fit(self, observer: Observer) -> TrainResult:
        """Run all epochs that are left; see :func:`train`.

        Raises:
            OvertakenError: another run writes the folder, or has written it since this one was made
                ready.
        """
        with claim(self.output) as locked:
            self._take_over()
            if not locked:
                self.notes.append(
                    f"{self.output} cannot be locked on its file system: see that no other run "
                    "writes it"
                )
            return self._fit(observer)

    def _take_over(self) -> None:
        """Begin to write the folder, whose older run ends here unless this one goes on with it."""
        if standing(self.output / LAST) != self._found:
            raise OvertakenError(
                f"another run has written {self.output} in the meantime, and it is left as it is: "
                "choose another --output, or go on with that run by --resume"
            )
        if self._fresh:
            # Or what is saved there would be taken for this run's, should it end before it saves.
            for name in (LAST, BEST):
                (self.output / name).unlink(missing_ok=True)
            self._found, self._fresh = NOTHING, False

    def _fit(self, observer: Observer) -> TrainResult:
        self._describe_run()
        self._saved_at = time.monotonic()
        judged = None
        with self._interruption:
            observer.start(self)
            while not self.finished:
                judged = self._epoch(observer)
        metrics = (judged or self.evaluate()).metrics
        return TrainResult(
            self.output / LAST,
            self.output / BEST,
            metrics,
            tuple(self.progress.history),
            tuple(self._unreadable),
        )

    def _describe_run(self) -> None:
        """Write what people and ``fleetnet runs`` read of a run."""
        with atomic_file(self.output / RECIPE) as file:
            file.write_text(self.recipe.to_yaml(), "utf-8")
        if self.progress.step == 0:
            description = {
                "model": self.model,
                "data": self.source.description,
                "classes": len(self.source.classes),
                "train_images": len(self.split.train),
                "val_images": len(self.split.val),
                "recipe": self.recipe.model_dump(mode="json"),
                "device": str(self.device),
                "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "fleetnet": importlib.metadata.version("fleetnet"),
            }
            with atomic_file(self.output / DESCRIPTION) as file:
                file.write_text(json.dumps(description, indent=2) + "\n", "utf-8")
        self._write_history()

    def _epoch(self, observer: Observer) -> Judgement:
        """Train what is left of the epoch at hand, evaluate and save."""
        progress = self.progress
        observer.epoch(progress.epoch, self.train_loader.images, progress.images)
        self._train_epoch(observer)
        if not progress.images:
            raise DataError(
                f"no image of {self.source.description} could be read{the_first(self._unreadable)}"
            )
        judged = self.evaluate()
        record = EpochRecord(
            epoch=progress.epoch,
            lr=self.learner.schedule.lr_at(progress.step - 1),
            train_loss=progress.loss,
            train_top1=progress.train_top1,
            top1=judged.top1,
            top5=judged.top5,
            images_per_s=progress.images / max(progress.seconds, 1e-9),
            seconds=progress.seconds,
            mean_average_precision=judged.mean_average_precision,
        )
        progress.end_epoch(record)
        # The best first: a run killed between the two repeats this epoch and writes it again.
        self._save(judged.metrics, (BEST, LAST) if progress.best is record else (LAST,))
        self._write_history()
        observer.done(record)
        return judged

    def _train_epoch(self, observer: Observer) -> None:
        progress = self.progress
        self.learner.begin_epoch(progress.epoch)
        batches = self._batches(self.train_loader, progress.epoch, progress.batch)
        accumulate = self.recipe.optimizer.accumulate
        started = time.perf_counter()
        while group := list(itertools.islice(batches, accumulate)):
            readable = [batch for batch in group if len(batch.labels)]
            if not readable:
                progress.batch += len(group)
                continue
            for batch in readable:
                self._trained_images.add(batch.contents)
            result = self.learner.step(readable, progress.step)
            if not math.isfinite(result.loss):
                raise self._diverged(f"the loss turned {result.loss}")
            progress.add(result, len(group), time.perf_counter() - started)
            observer.step(result.images, progress.loss, progress.train_top1, result.lr)
            self._save_within_epoch()
            started = time.perf_counter()

    def _batches(self, loader: Loader, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield batches, noting images that cannot be read; end where the run is asked to end."""
        for batch in loader.epoch(epoch, start):
            if self._interruption.signal is not None:
                self._end()
            self._unreadable.update(dict.fromkeys(batch.unreadable))
            yield batch
        if self._interruption.signal is not None:
            self._end()

    def evaluate(self) -> Judgement:
        """Measure the held-out images with the weights as they are.

        Raises:
            DataError: none of them can be read.
        """
        logits: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
        labels: list[Tensor] = []
        unreadable: list[str] = []
        with TorchEngine(self.learner.evaluated, self.preprocess) as engine:
            for batch in self._batches(self.val_loader, 0):
                self._held_out_images.add(batch.contents)
                unreadable += batch.unreadable
                if len(batch.labels):
                    logits.append(engine.run(batch.pixels.numpy()))
                    labels.append(batch.labels)
        if not labels:
            raise DataError(
                f"no held-out image of {self.source.description} could be read"
                f"{the_first(unreadable)}"
            )
        return judge(np.concatenate(logits), torch.cat(labels).numpy(), self.source.classes)

    def _save_within_epoch(self) -> None:
        minutes = (time.monotonic() - self._saved_at) / 60
        if minutes >= self.recipe.checkpoint_minutes:
            self._save(None, (LAST,))

    def _end(self) -> None:
        """Save and leave, because a signal asked for it."""
        self._save(None, (LAST,))
        number = self._interruption.signal
        assert number is not None  # noqa: S101 - for the type checker
        raise Interrupted(
            f"stopped by {number.name} in epoch {min(self.progress.epoch, self.recipe.epochs)} of "
            f"{self.recipe.epochs}, all saved; go on with: fleetnet train --resume {self.output}",
            128 + number,
        )

    def _save(self, metrics: AnyMetrics | None, names: tuple[str, ...]) -> None:
        if not self.learner.is_finite():
            raise self._diverged("weights are no longer numbers")
        checkpoint = self._checkpoint(metrics)
        for name in names:
            try:
                checkpoint.save(self.output / name)
            except FleetnetError as error:
                raise FleetnetError(f"{error}; {self._last_good()}") from None
        self._found = standing(self.output / LAST)
        self._saved_at = time.monotonic()

    def _last_good(self) -> str:
        path = self.output / LAST
        if not path.exists():
            return "nothing is saved yet"
        return f"what was saved last is whole: go on with fleetnet train --resume {self.output}"

    def _diverged(self, what: str) -> FleetnetError:
        best = self.progress.best
        lr = self.recipe.optimizer.lr / 3
        back = (
            f"go back to {self.output / BEST}, of epoch {best.epoch}, with a lower learning rate: "
            f"--weights {self.output / BEST} --set optimizer.lr={lr:.2g}"
            if best
            else f"start again with a lower learning rate (--set optimizer.lr={lr:.2g})"
        )
        return FleetnetError(f"{what} in epoch {self.progress.epoch}: {back}")

    def _checkpoint(self, metrics: AnyMetrics | None) -> Checkpoint:
        training = self.learner.state()
        training["progress"] = self.progress.position()
        training["unreadable"] = list(self._unreadable)
        return Checkpoint(
            model=self.model,
            classes=self.source.classes,
            preprocess=self.preprocess,
            state=plain(self.learner.evaluated.state_dict()),
            recipe=self.recipe.model_dump(mode="json"),
            data=self._data,
            epoch=self.progress.epoch - 1,
            metrics=metrics.to_json() if metrics else {},
            activation="sigmoid" if self.source.multi_label else "softmax",
            history=[vars(record) for record in self.progress.history],
            training=training,
            trained_images=self._trained_images.contents() if self._remembers else NONE,
            held_out_images=self._held_out_images.contents(),
        )

    def _write_history(self) -> None:
        lines = "".join(json.dumps(vars(record)) + "\n" for record in self.progress.history)
        with atomic_file(self.output / METRICS) as file:
            file.write_text(lines, "utf-8")


def last_checkpoint(output: Path) -> Checkpoint:
    """Read the newest state of the run in ``output``.

    Raises:
        CheckpointError: there is no run.
    """
    if not (output / LAST).exists():
        raise CheckpointError(f"there is no run to resume in {output}: it has no {LAST}")
    return Checkpoint.load(output / LAST)


def data_of(checkpoint: Checkpoint, output: Path) -> dict[str, str]:
    """Return the spec of the data that the run in ``output`` trains on.

    Raises:
        CheckpointError: its checkpoint does not say.
    """
    spec = checkpoint.data.get("spec")
    if not isinstance(spec, dict) or "data" not in spec:
        raise CheckpointError(f"{output / LAST} does not say where its images are: give DATA")
    return {str(key): str(value) for key, value in spec.items()}


def _device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise FleetnetError("device is 'cuda', but PyTorch finds no CUDA device here")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
