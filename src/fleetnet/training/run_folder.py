"""The folder of a run: which process may write to it, and what is written there."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fleetnet.errors import CheckpointError, FleetnetError, OvertakenError, following
from fleetnet.evaluation.history import METRICS
from fleetnet.files import NOTHING, atomic_file, standing
from fleetnet.models.registry import ModelEntry
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.progress import EpochRecord
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_lock import run_lock
from fleetnet.training.runs import DESCRIPTION, RECIPE
from fleetnet.weights.settings_file import NETWORK, write_description
from fleetnet.weights.subject import BEST, LAST


class RunFolder:
    """A folder in its current state; it is written to after :meth:`taken`.

    Args:
        path: need not exist.
        continued: the checkpoint in it that the run continues; None for a new run.
    """

    def __init__(self, path: Path, continued: Checkpoint | None = None) -> None:
        self.path = path
        self._fresh = continued is None
        self._found = standing(path / LAST) if continued is None else continued.found

    @contextlib.contextmanager
    def taken(self) -> Iterator[bool]:
        """Keep other runs out while the block runs; an older run there is removed.

        Yields:
            Whether the folder is locked: some network file systems cannot.

        Raises:
            OvertakenError: another run writes to the folder, or has done so since it was found.
        """
        with run_lock(self.path) as locked:
            self._take_over()
            yield locked

    def _take_over(self) -> None:
        if standing(self.path / LAST) != self._found:
            raise OvertakenError(
                f"another run has written {self.path} in the meantime, and it is left as it is: "
                "choose another output=, or go on with that run by resume=",
                arguments=["output", "resume"],
            )
        if self._fresh:
            # Otherwise, if this run ended before it saves, the old checkpoint would seem to be its.
            for name in (LAST, BEST):
                (self.path / name).unlink(missing_ok=True)
            self._found, self._fresh = NOTHING, False

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe, whole."""
        with atomic_file(self.path / RECIPE) as file:
            file.write_text(recipe.to_yaml(), "utf-8")

    def write_network(self, entry: ModelEntry) -> None:
        """Write the settings file of a network that has one, to be given to another run."""
        description = entry.arguments.get("description")
        if description is None:
            (self.path / NETWORK).unlink(missing_ok=True)
        else:
            write_description(description, self.path / NETWORK)

    def write_description(self, values: dict[str, Any]) -> None:
        """Write the file that ``fleetnet runs`` reads, with the time and our version."""
        description = {
            **values,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "fleetnet": importlib.metadata.version("fleetnet"),
        }
        with atomic_file(self.path / DESCRIPTION) as file:
            file.write_text(json.dumps(description, indent=2) + "\n", "utf-8")

    def write_history(self, history: Sequence[EpochRecord]) -> None:
        """Write one line per epoch."""
        lines = "".join(json.dumps(vars(record)) + "\n" for record in history)
        with atomic_file(self.path / METRICS) as file:
            file.write_text(lines, "utf-8")

    def write_checkpoint(self, checkpoint: Checkpoint, names: Sequence[str]) -> None:
        """Write a checkpoint under several names; each file is either whole or unchanged.

        Raises:
            FleetnetError: the disk is full; the message says what is saved.
        """
        for name in names:
            try:
                checkpoint.save(self.path / name)
            except FleetnetError as error:
                message = f"{error}; {self._last_good()}"
                raise following(error, message, FleetnetError, arguments=["resume"]) from None
        self._found = standing(self.path / LAST)

    def _last_good(self) -> str:
        if not (self.path / LAST).exists():
            return "nothing is saved yet"
        return f"what was saved last is whole: go on with resume='{self.path}'"


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
