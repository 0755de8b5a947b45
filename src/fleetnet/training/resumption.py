"""A run that was stopped, found by its folder alone: its checkpoint, its data and its loggers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetnet.data.sources import Source, SourceOptions, open_source, open_source_spec
from fleetnet.reporting import Advance, Warn
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.loggers import Logger, open_loggers, used_before
from fleetnet.training.ranks import ONLY, Ranks
from fleetnet.training.run_folder import data_of, last_checkpoint
from fleetnet.training.run_lock import check_unlocked
from fleetnet.training.task import MakeTask
from fleetnet.training.trainer import Trainer
from fleetnet.training.usual_task import usual_task
from fleetnet.weights.subject import LAST


@dataclass(frozen=True)
class StoppedRun:
    """A run to go on with.

    Attributes:
        folder: where it is.
        checkpoint: its newest state.
        source: the data that it trains on.
        loggers: those that its figures go to, not started yet.
    """

    folder: Path
    checkpoint: Checkpoint
    source: Source
    loggers: Sequence[Logger]

    @classmethod
    def find(
        cls,
        folder: Path,
        data: str | None = None,
        options: SourceOptions | None = None,
        log: Sequence[str] | None = None,
        *,
        warn: Warn = warnings.warn,
    ) -> StoppedRun:
        """Return the run in ``folder``.

        Args:
            folder: the run's, or its last checkpoint.
            data: where its images are now, if they moved.
            options: how to read them there.
            log: names of loggers; None for those that logged the run before.
            warn: called when a logger fails and is dropped.

        Raises:
            OvertakenError: another process is writing the run.
            CheckpointError: there is no run in the folder, or it does not say where its data are.
            FleetnetError: no such logger, or the data cannot be opened.
        """
        folder = folder.parent if folder.name == LAST else folder
        check_unlocked(folder)
        names = used_before(folder) if log is None else log
        loggers = open_loggers(names, folder, resume=True, warn=warn)
        checkpoint = last_checkpoint(folder)
        source = (
            open_source_spec(data_of(checkpoint, folder))
            if data is None
            else open_source(data, options=options)
        )
        return cls(folder, checkpoint, source, loggers)

    def trainer(
        self,
        *,
        task: MakeTask = usual_task,
        advance: Advance = lambda _: None,
        ranks: Ranks = ONLY,
    ) -> Trainer:
        """Return the run, ready to go on; see :meth:`fleetnet.training.trainer.Trainer.resumed`."""
        return Trainer.resumed(
            self.source,
            self.folder,
            checkpoint=self.checkpoint,
            task=task,
            advance=advance,
            ranks=ranks,
        )
