"""Sending a training run's figures to services: one small protocol, one file per service.

A logger never ends the run: one that cannot start is refused before training begins, and one that
fails later is dropped with a warning. Figures that were sent before an interruption are not sent
again when the run is resumed.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fleetnet.errors import FleetnetError, nearest, reason_of, require
from fleetnet.reporting import Warn


class Logger(Protocol):
    """Takes a run's settings and figures."""

    name: str
    """The name for :func:`open_loggers`."""

    def start(self, run_name: str, settings: dict[str, Any], folder: Path) -> None:
        """Begin or resume the run in ``folder``.

        Args:
            run_name: for people.
            settings: the recipe and other settings of the run; nested JSON values.
            folder: the run's own.

        Raises:
            FleetnetError: the service cannot be used as it is set up.
        """
        ...

    def log_epoch(self, record: Mapping[str, float]) -> None:
        """Take an epoch's figures, named as in ``metrics.jsonl``, its number as ``epoch``."""
        ...

    def log_step(self, number: int, values: Mapping[str, float]) -> None:
        """Take figures of step ``number``, counted over the whole run."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """End the run; ``summary`` has its results."""
        ...


class _Kind(NamedTuple):
    modules: tuple[str, ...]
    extra: str
    package: str
    implementation: str


LOGGERS = {
    "tensorboard": _Kind(
        ("tensorboardX",), "train", "tensorboardX", "tensorboard:TensorBoardLogger"
    ),
    "wandb": _Kind(("wandb",), "wandb", "wandb", "wandb:WandbLogger"),
    "mlflow": _Kind(
        ("mlflow", "sqlalchemy", "alembic", "cryptography"),
        "mlflow",
        "mlflow-skinny",
        "mlflow:MlflowLogger",
    ),
}

_TRACES = {"tensorboard": "tensorboard", "wandb": "wandb.json", "mlflow": "mlflow.json"}
"""What each logger leaves in a run's folder."""
_TAGS = {"top1": "val/top1", "top5": "val/top5"}


def open_loggers(
    names: Sequence[str], folder: Path, *, resume: bool = False, warn: Warn = warnings.warn
) -> list[Logger]:
    """Return loggers by name, ready to be started; nothing is written or sent yet.

    Args:
        names: of :data:`LOGGERS`; a name given twice counts once.
        folder: the run's folder, where loggers store what they need to resume.
        resume: whether the run resumes from a checkpoint; otherwise what an older run's loggers
            stored in ``folder`` is ignored.
        warn: called when a logger fails and is dropped.

    Raises:
        FleetnetError: there is no such logger, or its package is not installed.
    """
    loggers: list[Logger] = []
    for name in dict.fromkeys(names):
        kind = LOGGERS.get(name)
        if kind is None:
            raise FleetnetError(
                f"unknown logger '{name}'{nearest(name, LOGGERS)} (known: {', '.join(LOGGERS)})"
            )
        if any(importlib.util.find_spec(module) is None for module in kind.modules):
            raise require(kind.package, kind.extra, f"logging to {name}")
        module, _, implementation = kind.implementation.partition(":")
        made = getattr(importlib.import_module(f"{__name__}.{module}"), implementation)
        loggers.append(Guarded(made(folder, resume=resume), warn))
    return loggers


def used_before(folder: Path) -> list[str]:
    """Return the names of the loggers that have logged the run in ``folder``."""
    return [name for name, trace in _TRACES.items() if (folder / trace).exists()]


class Guarded:
    """A logger that may fail: an error at the start, later a warning and no more calls."""

    def __init__(self, logger: Logger, warn: Warn) -> None:
        self.name = logger.name
        self._logger: Logger | None = logger
        self._warn = warn

    def start(self, run_name: str, settings: dict[str, Any], folder: Path) -> None:
        """Start the logger.

        Raises:
            FleetnetError: it cannot start; the message has one line.
        """
        if self._logger is None:
            return
        try:
            self._logger.start(run_name, settings, folder)
        except FleetnetError:
            raise
        except Exception as error:
            raise FleetnetError(f"{self.name} cannot start: {_one_line(error)}") from error

    def log_epoch(self, record: Mapping[str, float]) -> None:
        """Pass an epoch's figures on."""
        self._pass_on(lambda logger: logger.log_epoch(record))

    def log_step(self, number: int, values: Mapping[str, float]) -> None:
        """Pass a step's figures on."""
        self._pass_on(lambda logger: logger.log_step(number, values))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Finish the logger."""
        self._pass_on(lambda logger: logger.finish(summary))

    def _pass_on(self, call: Callable[[Logger], None]) -> None:
        if self._logger is None:
            return
        try:
            call(self._logger)
        except Exception as error:
            # A service may raise anything, and must not end hours of training.
            self._logger = None
            self._warn(f"{self.name} failed and gets no more figures: {_one_line(error)}")


def tag(key: str) -> str:
    """Return a figure's name in services: ``train_loss`` is ``train/loss``, ``top1`` ``val/top1``.

    Services group their charts by the part before the slash.
    """
    prefix, _, rest = key.partition("_")
    if prefix in ("train", "val") and rest:
        return f"{prefix}/{rest}"
    return _TAGS.get(key, key)


def tagged(record: Mapping[str, float]) -> dict[str, float]:
    """Return an epoch's figures by their tags, without the epoch's number."""
    return {tag(key): float(value) for key, value in record.items() if key != "epoch"}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, keys joined by points: ``optimizer.lr``."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def _one_line(error: Exception) -> str:
    return reason_of(error)[:300]
