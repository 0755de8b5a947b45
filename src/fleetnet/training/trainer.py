"""The loop that trains a network."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from fleetnet.data.augment import Augment
from fleetnet.data.loader import Loader
from fleetnet.data.sources import Source, fingerprint
from fleetnet.data.splits import Split, split
from fleetnet.errors import DataError, FleetnetError
from fleetnet.evaluation.metrics import Metrics, measure
from fleetnet.files import atomic_file
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.models.registry import find_model
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.weights.create import create_model

LAST, BEST = "last.ckpt", "best.ckpt"


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch measured; one line of ``metrics.jsonl``."""

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    top1: float
    top5: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves behind."""

    last: Path
    best: Path
    metrics: Metrics
    """Of the held-out images after the last epoch."""
    history: tuple[EpochRecord, ...]
    unreadable: tuple[str, ...]


class Observer(Protocol):
    """Is told how a run goes; the command line draws its progress bar from this."""

    def start(self, run: Trainer) -> None:
        """All is checked and training begins."""
        ...

    def epoch(self, number: int, images: int) -> None:
        """Epoch ``number``, from 1, of ``images`` images begins."""
        ...

    def step(self, images: int, loss: float, top1: float) -> None:
        """A step is done; ``loss`` and ``top1`` are means over the epoch so far."""
        ...

    def done(self, record: EpochRecord) -> None:
        """The epoch is trained, evaluated and saved."""
        ...


class Silent:
    """An observer that says nothing."""

    def start(self, run: Trainer) -> None:
        """Do nothing."""

    def epoch(self, number: int, images: int) -> None:
        """Do nothing."""

    def step(self, images: int, loss: float, top1: float) -> None:
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
        output: folder for ``last.ckpt``, ``best.ckpt``, ``recipe.yaml`` and ``metrics.jsonl``.
        weights: a file of weights of the same network to start from, in any format that
            :func:`fleetnet.weights.create.create_model` reads; a classifier of another number of
            classes is replaced by a fresh one.
        observer: is told how it goes.

    Raises:
        FleetnetError: the data, the model, the recipe or the output cannot be used, the disk is
            full, or the loss is no longer a number.
    """
    trainer = Trainer(source, model, recipe or Recipe(), Path(output), weights=weights)
    return trainer.fit(observer or Silent())


class Trainer:
    """A run that is ready to start: everything checked, nothing written yet."""

    def __init__(
        self,
        source: Source,
        model: str,
        recipe: Recipe,
        output: Path,
        *,
        weights: str | Path | None = None,
    ) -> None:
        self.source = source
        self.model = find_model(model).name
        self.recipe = recipe
        self.output = output
        self.preprocess = recipe.input.preprocess()
        self.split: Split = split(source, recipe.data.val_fraction, recipe.seed)
        if len(self.split.train) < 2 or not len(self.split.val):
            raise DataError(f"{source.description} has too few images to train and to hold out")
        self._data = self._describe_data()
        self._unreadable: dict[str, None] = {}
        self.device = _device(recipe.device)
        torch.manual_seed(recipe.seed)
        self.notes: list[str] = []
        """What a person should know of the weights that training starts from."""
        self.network = self._build_network(weights)
        self.ema = _averaged(self.network, recipe.ema.decay)
        scale, shift = self.preprocess.normalisation()
        self._scale = torch.from_numpy(scale).to(self.device)
        self._shift = torch.from_numpy(shift).to(self.device)

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

    def _build_network(self, weights: str | Path | None) -> nn.Module:
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
        # Module.to takes a memory format too, but its type annotations leave that out.
        network.to(self.device)
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return network

    def fit(self, observer: Observer) -> TrainResult:
        """Run all epochs; see :func:`train`."""
        recipe = self.recipe
        train_loader, val_loader = self._loaders()
        optimizer = self._optimizer()
        steps_per_epoch = len(train_loader)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _cosine(step, steps_per_epoch, recipe)
        )
        history: list[EpochRecord] = []
        with atomic_file(self.output / "recipe.yaml") as file:
            file.write_text(recipe.to_yaml(), "utf-8")
        observer.start(self)
        best = -1.0
        for number in range(1, recipe.epochs + 1):
            observer.epoch(number, train_loader.images)
            started = time.perf_counter()
            lr = optimizer.param_groups[0]["lr"]
            loss, top1, images = self._train_epoch(
                train_loader, number, optimizer, schedule, observer
            )
            seconds = time.perf_counter() - started
            metrics = self._evaluate(val_loader)
            record = EpochRecord(
                number, lr, loss, top1, metrics.top1, metrics.top5, images / seconds, seconds
            )
            history.append(record)
            checkpoint = self._checkpoint(number, metrics, optimizer, schedule)
            checkpoint.save(self.output / LAST)
            if metrics.top1 > best:
                best = metrics.top1
                checkpoint.save(self.output / BEST)
            self._write_history(history)
            observer.done(record)
        return TrainResult(
            self.output / LAST,
            self.output / BEST,
            metrics,
            tuple(history),
            tuple(self._unreadable),
        )

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
        )
        return train_loader, val_loader

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.recipe.optimizer
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        # A norm's scale and shift and every bias have one dimension; nothing else has.
        flat = [p for p in parameters if p.ndim <= 1]
        weights = [p for p in parameters if p.ndim > 1]
        groups = [
            {"params": weights, "weight_decay": settings.weight_decay},
            {
                "params": flat,
                "weight_decay": settings.weight_decay if settings.decay_norm_and_bias else 0.0,
            },
        ]
        return torch.optim.SGD(
            groups,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
        )

    def _train_epoch(
        self,
        loader: Loader,
        number: int,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        observer: Observer,
    ) -> tuple[float, float, int]:
        self.network.train()
        seen, loss_sum, hits = 0, 0.0, 0
        for pixels, labels in self._batches(loader, number):
            loss, logits = self._step(pixels, labels, optimizer)
            schedule.step()
            if self.ema is not None:
                self.ema.update_parameters(self.network)
            if not math.isfinite(loss):
                raise FleetnetError(
                    f"the loss turned {loss} in epoch {number}: lower the learning rate "
                    f"(--set optimizer.lr={optimizer.param_groups[0]['lr'] / 3:.2g})"
                )
            seen += len(labels)
            loss_sum += loss * len(labels)
            hits += int((logits.argmax(1) == labels).sum())
            observer.step(len(labels), loss_sum / seen, hits / seen)
        if not seen:
            raise DataError(f"no image of {self.source.description} could be read")
        return loss_sum / seen, hits / seen, seen

    def _step(
        self, pixels: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer
    ) -> tuple[float, Tensor]:
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"
        ):
            logits = self.network(pixels)
        loss = functional.cross_entropy(
            logits.float(), labels, label_smoothing=self.recipe.loss.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item(), logits.detach()

    def _batches(self, loader: Loader, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in loader.epoch(number):
            self._unreadable.update(dict.fromkeys(batch.unreadable))
            if not len(batch.labels):
                continue
            pixels = batch.pixels.to(self.device).float() * self._scale + self._shift
            # The bytes lie height, width, channel: permuted, that is channels_last already.
            yield pixels.permute(0, 3, 1, 2), batch.labels.to(self.device)

    def _evaluate(self, loader: Loader) -> Metrics:
        engine = TorchEngine(self._evaluated(), self.preprocess)
        logits: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
        labels: list[Tensor] = []
        for batch in loader.epoch(0):
            self._unreadable.update(dict.fromkeys(batch.unreadable))
            if len(batch.labels):
                logits.append(engine.run(batch.pixels.numpy()))
                labels.append(batch.labels)
        if not labels:
            raise DataError(f"no held-out image of {self.source.description} could be read")
        return measure(np.concatenate(logits), torch.cat(labels).numpy(), self.source.classes)

    def _evaluated(self) -> nn.Module:
        if self.ema is None:
            return self.network
        module: nn.Module = self.ema.module
        return module

    def _checkpoint(
        self,
        number: int,
        metrics: Metrics,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> Checkpoint:
        return Checkpoint(
            model=self.model,
            classes=self.source.classes,
            preprocess=self.preprocess,
            state=_plain(self._evaluated().state_dict()),
            recipe=self.recipe.model_dump(mode="json"),
            data=self._data,
            epoch=number,
            metrics=metrics.to_json(),
            training={
                "network": _plain(self.network.state_dict()),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
            },
        )

    def _write_history(self, history: list[EpochRecord]) -> None:
        lines = "".join(json.dumps(vars(record)) + "\n" for record in history)
        with atomic_file(self.output / "metrics.jsonl") as file:
            file.write_text(lines, "utf-8")


def _cosine(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Return the factor on the learning rate at ``step`` (Loshchilov and Hutter 2017)."""
    warmup = recipe.schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    total = recipe.epochs * steps_per_epoch
    final = recipe.schedule.final_lr / recipe.optimizer.lr
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def _averaged(network: nn.Module, decay: float) -> AveragedModel | None:
    if decay == 0:
        return None

    def average(old: Tensor, new: Tensor, updates: Tensor | int) -> Tensor:
        if not old.is_floating_point():
            return new
        count = int(updates)
        return torch.lerp(old, new, 1 - min(decay, (1 + count) / (10 + count)))

    return AveragedModel(network, avg_fn=average, use_buffers=True)


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dict to the CPU in the ordinary memory format."""
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def _device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise FleetnetError("device is 'cuda', but PyTorch finds no CUDA device here")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
