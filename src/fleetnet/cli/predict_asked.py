"""How images are to be classified, as a user of ``fleetnet predict`` asks for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from fleetnet.errors import FleetnetError
from fleetnet.labels import read_labels

OFF = "off"
"""Rejects nothing, in place of a threshold."""


@dataclass(frozen=True)
class Asked:
    """What the options of ``fleetnet predict`` say of computing; ``None`` where they say nothing.

    Attributes:
        top_k: how many classes to name.
        engine: its name, or ``auto``.
        precision: that of the engine.
        threads: for the engine.
        device: of the engine.
        batch_size: how many images the engine gets at once.
        exact: whether large JPEGs are decoded whole.
        labels: a file with other names of the classes.
        reject: a threshold in place of the bundle's, or :data:`OFF`.

    Raises:
        FleetnetError: ``reject`` is neither.
    """

    top_k: int
    engine: str | None
    precision: str | None
    threads: int | None
    device: str | None
    batch_size: int | None
    exact: bool
    labels: Path | None
    reject: str | None

    def __post_init__(self) -> None:
        """Refuse what is no threshold, before anything is opened."""
        if not isinstance(self.rejection, bool) and not math.isfinite(self.rejection):
            raise FleetnetError(f"--reject is {self.reject!r}; it must be a threshold or '{OFF}'")

    @property
    def rejection(self) -> bool | float:
        """What a :class:`fleetnet.Classifier` is told: the bundle's threshold, none, or another."""
        if self.reject is None:
            return True
        if self.reject == OFF:
            return False
        try:
            return float(self.reject)
        except ValueError:
            return math.nan

    def local(self) -> dict[str, object]:
        """Return what only whoever computes can choose, by the names of the options."""
        names = [field.name for field in fields(self) if field.name != "top_k"]
        return {name: getattr(self, name) for name in names}

    def names(self, classes: int) -> tuple[str, ...] | None:
        """Return other names of so many classes, or None where no file has any.

        Raises:
            FleetnetError: the file cannot be read, or has another number of names.
        """
        return None if self.labels is None else read_labels(self.labels, classes)
