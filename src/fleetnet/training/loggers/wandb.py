"""Weights & Biases; with ``WANDB_MODE=offline`` everything stays local until ``wandb sync``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from fleetnet.errors import FleetnetError
from fleetnet.training.loggers import tag, tagged
from fleetnet.training.loggers.state import LoggerState

PROJECT = "fleetnet"


class WandbLogger:
    """Logs to the project of ``WANDB_PROJECT``, else ``fleetnet``; the run's id is kept with it."""

    name = "wandb"

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        self._state = LoggerState(folder / "wandb.json", resume=resume)
        self._run: Any = None

    def start(self, run_name: str, settings: dict[str, Any], folder: Path) -> None:
        """Open a new run, or the one that the run's folder names.

        Raises:
            FleetnetError: nobody is logged in, or the service does not answer.
        """
        self._state.run_id = self._state.run_id or secrets.token_hex(8)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=run_name,
                id=self._state.run_id,
                resume="allow",
                config=settings,
                dir=str(folder),
                reinit="create_new",
                # Its capture of the console disturbs our progress bar.
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.Error as error:
            raise FleetnetError(
                f"wandb cannot start: {error} (WANDB_MODE=offline needs no account)"
            ) from None
        # Own axes, because W&B's count can only grow, and a resumed run goes back.
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="epoch")
        self._run.define_metric("step/*", step_metric="step")
        self._state.save()

    def log_epoch(self, record: Mapping[str, float]) -> None:
        """Log an epoch's figures."""
        number = int(record["epoch"])
        if self._state.is_new("epoch", number):
            self._run.log({"epoch": number, **tagged(record)})
            self._state.note("epoch", number)

    def log_step(self, number: int, values: Mapping[str, float]) -> None:
        """Log a step's figures under ``step/``."""
        if self._state.is_new("step", number):
            named = {f"step/{tag(key)}": float(value) for key, value in values.items()}
            self._run.log({"step": number, **named})
            self._state.note("step", number)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Log the summary and wait until the service has everything."""
        self._run.summary.update(dict(summary))
        self._run.finish()
