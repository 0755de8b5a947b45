"""Reading training runs from their folders, to compare them; without PyTorch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetnet.errors import DataError, require
from fleetnet.evaluation.history import METRICS, EpochFigures, read_metrics, read_text
from fleetnet.reporting import Warn

RECIPE, DESCRIPTION = "recipe.yaml", "run.json"


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        path: its folder.
        description: ``run.json`` without the recipe: network, data, numbers of images, ….
        settings: the recipe as one level, keys joined by points; lists as they are.
        history: one record per epoch, in order; a record may lack figures.
    """

    path: Path
    description: dict[str, Any]
    settings: dict[str, Any]
    history: tuple[EpochFigures, ...]

    @property
    def model(self) -> str | None:
        """Name of the network, if known."""
        value = self.description.get("model")
        return value if isinstance(value, str) else None

    @property
    def data(self) -> str | None:
        """What it was trained on, if known."""
        value = self.description.get("data")
        return value if isinstance(value, str) else None

    @property
    def recipe(self) -> str | None:
        """Name of the recipe."""
        value = self.settings.get("name")
        return None if value is None else str(value)

    @property
    def epochs_planned(self) -> int | None:
        """Epochs of the recipe."""
        value = self.settings.get("epochs")
        return value if isinstance(value, int) else None

    @property
    def best(self) -> EpochFigures | None:
        """The first epoch of the highest top-1; None if none has a top-1."""
        known = [record for record in self.history if _is_number(record.get("top1"))]
        return max(known, key=lambda record: record["top1"], default=None)

    @property
    def seconds(self) -> float:
        """Total time of the epochs."""
        return sum(filter(_is_number, (record.get("seconds", 0.0) for record in self.history)))

    @property
    def images_per_s(self) -> float | None:
        """Median of the epochs' training speeds."""
        known = sorted(
            record["images_per_s"]
            for record in self.history
            if _is_number(record.get("images_per_s"))
        )
        return known[len(known) // 2] if known else None

    def last(self, key: str) -> float | None:
        """Return the last epoch's figure of that name, if it has one."""
        return self.history[-1].get(key) if self.history else None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; NaN is null."""
        return {
            **self.description,
            "path": str(self.path),
            "model": self.model,
            "recipe": self.recipe,
            "epochs": len(self.history),
            "epochs_planned": self.epochs_planned,
            "best": _plain_record(self.best) if self.best else None,
            "last": _plain_record(self.history[-1]) if self.history else None,
            "images_per_s": self.images_per_s,
            "seconds": self.seconds,
            "settings": {key: _plain(value) for key, value in self.settings.items()},
            "history": [_plain_record(record) for record in self.history],
        }


def find_runs(folders: Sequence[Path], warn: Warn) -> list[Run]:
    """Read all runs in and below ``folders``, the best top-1 first.

    A run is a folder with ``metrics.jsonl`` and ``recipe.yaml`` or ``run.json``. Links are
    followed, and each folder is visited once, even if several paths lead to it.

    Args:
        folders: where to look.
        warn: called with folders and runs that cannot be read and are left out.

    Raises:
        DataError: a folder is not there, or there is no run in any.
        FleetnetError: a recipe has to be read and PyYAML is not installed.
    """
    for folder in folders:
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise DataError(
                f"{folder} {what}: give a folder of runs, as 'fleetnet train' leaves",
                file=str(folder),
            )
    seen: set[tuple[int, int]] = set()
    runs = []
    for folder in folders:
        for path in _run_folders(folder, seen, warn):
            try:
                runs.append(read_run(path, warn))
            except DataError as error:
                warn(f"{error}; it is left out")
    if not runs:
        places = ", ".join(map(str, folders))
        raise DataError(
            f"no runs in {places}: a run is a folder with {METRICS} and {RECIPE}, which 'fleetnet "
            "train' writes after its first epoch"
        )
    return sorted(runs, key=lambda run: (-(run.best["top1"] if run.best else -1), str(run.path)))


def read_run(path: Path, warn: Warn) -> Run:
    """Read one run's folder.

    Raises:
        DataError: a file in it cannot be read or is not what it should be.
        FleetnetError: the recipe has to be read and PyYAML is not installed.
    """
    description = _read_description(path / DESCRIPTION) if (path / DESCRIPTION).exists() else {}
    recipe = description.pop("recipe", None)
    if not isinstance(recipe, dict):
        recipe = _read_recipe(path / RECIPE)
    return Run(path, description, _flat(recipe), tuple(read_metrics(path / METRICS, warn)))


def launch_of(path: Path) -> str:
    """Return the name of the launch that began the run in a folder; empty if none did."""
    try:
        values = json.loads((path / DESCRIPTION).read_text("utf-8"))
        return str(values.get("launch", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def differing(runs: Sequence[Run]) -> list[str]:
    """Return the settings that are not the same in all runs, in the recipe's order."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [key for key in keys if len({str(run.settings.get(key)) for run in runs}) > 1]


def _run_folders(folder: Path, seen: set[tuple[int, int]], warn: Warn) -> Iterator[Path]:
    """Yield run folders in order; folders seen before, such as by a link back, are skipped."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as scan:
                entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
            names = {entry.name for entry in entries}
            waiting += [
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            ]
        except OSError as error:
            warn(f"cannot read {path}: {error.strerror or error}; it is left out")
            continue
        if METRICS in names and names & {RECIPE, DESCRIPTION}:
            yield path


def _read_description(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(file))
    except (ValueError, RecursionError):
        raise DataError(f"{file} is not JSON", file=str(file)) from None
    if not isinstance(values, dict):
        raise DataError(f"{file} is not a description of a run", file=str(file))
    return {key: value for key, value in values.items() if key == "recipe" or _is_setting(value)}


def _read_recipe(file: Path) -> dict[str, Any]:
    try:
        from fleetnet.yaml_text import NotYamlError, from_yaml
    except ModuleNotFoundError:
        raise require("PyYAML", "train", "reading recipes") from None
    text = read_text(file)
    try:
        # A recipe of any version: its keys and values need not be known today.
        values = from_yaml(text)
    except NotYamlError:
        raise DataError(f"{file} is not a recipe", file=str(file)) from None
    if not isinstance(values, dict):
        raise DataError(f"{file} is not a recipe", file=str(file))
    return values


def _flat(recipe: Mapping[Any, Any]) -> dict[str, Any]:
    """Flatten a recipe's two levels; deeper ones, which may be endless, are dropped."""
    values: dict[str, Any] = {}
    for section, entry in recipe.items():
        if isinstance(entry, Mapping):
            inner = {f"{section}.{key}": value for key, value in entry.items()}
            values |= {key: value for key, value in inner.items() if _is_setting(value)}
        elif _is_setting(entry):
            values[str(section)] = entry
    return values


def _is_setting(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(entry, int | float | str | None) for entry in value)
    return isinstance(value, int | float | str | None)


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _plain_record(record: EpochFigures) -> dict[str, Any]:
    return {**{key: _plain(value) for key, value in record.items()}, "epoch": int(record["epoch"])}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
