"""Deciding when a run is saved, and under which names."""

from __future__ import annotations

import time

from fleetnet.errors import FleetnetError
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.ranks import ONLY, Ranks
from fleetnet.training.run_folder import RunFolder
from fleetnet.training.state import RunState
from fleetnet.training.validation import AnyMetrics
from fleetnet.weights.subject import BEST, LAST


class Checkpointing:
    """Keeps a run's newest state in ``last.ckpt``, and that of its best epoch in ``best.ckpt``.

    Args:
        state: the state to save.
        run: what every checkpoint says about the run.
        folder: where to save.
        minutes: between saves within an epoch.
        ranks: the processes that train together, of which the first writes. All of them have to
            save at the same time.
    """

    def __init__(
        self,
        state: RunState,
        run: Checkpoint,
        folder: RunFolder,
        minutes: float,
        ranks: Ranks = ONLY,
    ) -> None:
        self.state = state
        self.run = run
        self.folder = folder
        self.minutes = minutes
        self._ranks = ranks
        self._saved_at = 0.0

    def start(self) -> None:
        """Count the minutes from now on."""
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to save before the epoch ends."""
        return (time.monotonic() - self._saved_at) / 60 >= self.minutes

    def save(self) -> None:
        """Save within an epoch.

        Raises:
            FleetnetError: weights are no longer numbers, or the disk is full.
        """
        self._save(None, (LAST,))

    def save_epoch(self, metrics: AnyMetrics) -> None:
        """Save at the end of an epoch, and keep it as the best if it is.

        Raises:
            FleetnetError: as in :meth:`save`.
        """
        progress = self.state.progress
        best = progress.best is progress.history[-1]
        # The best first: a run killed between the two repeats this epoch and writes both again.
        self._save(metrics, (BEST, LAST) if best else (LAST,))
        if self._ranks.is_first:
            self.folder.write_history(progress.history)

    def _save(self, metrics: AnyMetrics | None, names: tuple[str, ...]) -> None:
        if not self.state.train_step.is_finite():
            raise self.diverged("weights are no longer numbers")
        if self._ranks.size > 1:
            found = self._ranks.collected(self.state.found(keep=self._ranks.is_first))
            self.state.merge(found[1:])
        if self._ranks.is_first:
            self.folder.write_checkpoint(self.state.checkpoint(self.run, metrics), names)
        self._saved_at = time.monotonic()

    def diverged(self, what: str) -> FleetnetError:
        """Return the error that says what is not a number, and which checkpoint to go back to."""
        best, path = self.state.progress.best, self.folder.path / BEST
        lr = self.state.train_step.recipe.optimizer.lr / 3
        back = (
            f"go back to {path}, of epoch {best.epoch}, with a lower learning rate: "
            f"weights='{path}' and set optimizer.lr={lr:.2g}"
            if best
            else f"start again with a lower learning rate (set optimizer.lr={lr:.2g})"
        )
        epoch = self.state.progress.epoch
        return FleetnetError(
            f"{what} in epoch {epoch}: {back}",
            code="diverged",
            arguments=["weights"],
            settings=["optimizer.lr"],
            epoch=epoch,
        )
