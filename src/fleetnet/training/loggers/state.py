"""What a service has already logged of a run, stored in the run's folder for resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fleetnet.files import atomic_file


class LoggerState:
    """The service's id of the run, and the last epoch and step that it has.

    Args:
        file: where this is stored.
        resume: whether to use the file; otherwise it is ignored.
    """

    def __init__(self, file: Path, *, resume: bool) -> None:
        self.file = file
        self.run_id: str | None = None
        self._last = {"epoch": -1, "step": -1}
        if resume:
            self._load()

    def _load(self) -> None:
        try:
            values = json.loads(self.file.read_text("utf-8"))
        except (OSError, ValueError):
            return  # this service has not logged the run, or its record is lost
        if isinstance(values, dict) and isinstance(values.get("run_id"), str):
            self.run_id = values["run_id"]
            for axis in self._last:
                if isinstance(values.get(axis), int):
                    self._last[axis] = values[axis]

    def is_new(self, axis: str, number: int) -> bool:
        """Tell whether an epoch or step has not been logged yet."""
        return number > self._last[axis]

    def note(self, axis: str, number: int) -> None:
        """Remember that an epoch or step was logged."""
        self._last[axis] = number
        self.save()

    def save(self) -> None:
        """Write the file.

        Raises:
            FleetnetError: it cannot be written.
        """
        values: dict[str, Any] = {"run_id": self.run_id, **self._last}
        with atomic_file(self.file) as path:
            path.write_text(json.dumps(values), "utf-8")
