"""How images are to be classified, as a user of ``fleetnet predict`` asks for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from fleetnet.labels import read_labels


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
    """

    top_k: int
    engine: str | None
    precision: str | None
    threads: int | None
    device: str | None
    batch_size: int | None
    exact: bool
    labels: Path | None

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
