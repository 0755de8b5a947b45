"""MLflow: the server of ``MLFLOW_TRACKING_URI``, else a database in the run's folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from fleetnet.errors import FleetnetError, one_line
from fleetnet.training.loggers import flat, tag, tagged
from fleetnet.training.loggers.state import LoggerState

EXPERIMENT = "fleetnet"
DATABASE = "mlflow.db"

_PARAMS_AT_ONCE = 100
_LONGEST_VALUE = 500


class MlflowLogger:
    """Logs to the experiment of ``MLFLOW_EXPERIMENT_NAME``, else ``fleetnet``."""

    name = "mlflow"

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        self._state = LoggerState(folder / "mlflow.json", resume=resume)
        self._client: MlflowClient | None = None

    def start(self, run_name: str, settings: dict[str, Any], folder: Path) -> None:
        """Open a run with the settings as parameters, or resume the one in the run's folder.

        Raises:
            FleetnetError: the server cannot be reached.
        """
        given = os.environ.get("MLFLOW_TRACKING_URI")
        uri = given or f"sqlite:///{(folder / DATABASE).resolve()}"
        folder.mkdir(parents=True, exist_ok=True)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # If a server is gone, MLflow's seven retries would delay training by four minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        try:
            self._client = MlflowClient(tracking_uri=uri)
            if self._state.run_id is None:
                self._state.run_id = self._create(run_name, settings, folder)
            else:
                self._client.update_run(self._state.run_id, status="RUNNING")
        except Exception as error:
            reason = one_line(error)[:200]
            advice = "; check MLFLOW_TRACKING_URI" if given else ""
            raise FleetnetError(f"mlflow cannot start: {uri}: {reason}{advice}") from error
        self._state.save()

    def _create(self, run_name: str, settings: dict[str, Any], folder: Path) -> str:
        client = self._open_client()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = client.get_experiment_by_name(experiment)
        # By default, a local experiment's files would go to ./mlruns in the current folder.
        place = None if "MLFLOW_TRACKING_URI" in os.environ else (folder / "mlflow").resolve()
        experiment_id = (
            known.experiment_id
            if known
            else client.create_experiment(experiment, place.as_uri() if place else None)
        )
        run_id: str = client.create_run(experiment_id, run_name=run_name).info.run_id
        params = [Param(key, str(value)[:_LONGEST_VALUE]) for key, value in flat(settings).items()]
        for start in range(0, len(params), _PARAMS_AT_ONCE):
            client.log_batch(run_id, params=params[start : start + _PARAMS_AT_ONCE])
        return run_id

    def log_epoch(self, record: Mapping[str, float]) -> None:
        """Log an epoch's figures, the epoch being MLflow's step."""
        number = int(record["epoch"])
        if self._state.is_new("epoch", number):
            self._log(tagged(record), number)
            self._state.note("epoch", number)

    def log_step(self, number: int, values: Mapping[str, float]) -> None:
        """Log a step's figures under ``step/``."""
        if self._state.is_new("step", number):
            self._log({f"step/{tag(key)}": float(values[key]) for key in values}, number)
            self._state.note("step", number)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._open_client().log_batch(self._state.run_id, metrics=metrics)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Log the summary as tags, and mark the run as finished."""
        client = self._open_client()
        for key, value in flat(summary).items():
            client.set_tag(self._state.run_id, key, str(value))
        client.set_terminated(self._state.run_id)

    def _open_client(self) -> MlflowClient:
        if self._client is None:
            raise FleetnetError("the mlflow logger has not been started")
        return self._client
