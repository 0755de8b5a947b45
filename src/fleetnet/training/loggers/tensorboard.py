"""TensorBoard's event files, written by tensorboardX."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar, text

from fleetnet.training.loggers import tag, tagged

FOLDER = "tensorboard"
_FORMAT = "brain.Event:2"


class TensorBoardLogger:
    """Writes ``tensorboard/`` in the run's folder, and ``tensorboard/steps/`` for single steps.

    Epochs and steps have separate counts, and TensorBoard has one count per folder.
    """

    name = "tensorboard"

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        self._folder = folder / FOLDER
        self._resume = resume
        self._settings: dict[str, Any] = {}
        self._epochs: _Events | None = None
        self._steps: _Events | None = None

    def start(self, run_name: str, settings: dict[str, Any], folder: Path) -> None:  # noqa: ARG002
        """Store the settings; remove the events of an older run here, unless it is resumed."""
        self._folder = folder / FOLDER
        self._settings = settings
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._resume:
            for file in self._folder.rglob("events.out.tfevents.*"):
                file.unlink()

    def log_epoch(self, record: Mapping[str, float]) -> None:
        """Write an epoch's scalars, and the settings before the first."""
        number = int(record["epoch"])
        if self._epochs is None:
            self._epochs = _Events(self._folder, number)
            shown = json.dumps(self._settings, indent=2, default=str)
            # TensorBoard shows text as Markdown, where four spaces begin a block of code.
            self._epochs.write(text("settings", shown.replace("\n", "\n    ")), number)
        self._epochs.write(_scalars(tagged(record)), number)

    def log_step(self, number: int, values: Mapping[str, float]) -> None:
        """Write a step's scalars."""
        if self._steps is None:
            self._steps = _Events(self._folder / "steps", number)
        self._steps.write(_scalars({tag(key): float(values[key]) for key in values}), number)

    def finish(self, summary: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Close the files."""
        for events in (self._epochs, self._steps):
            if events is not None:
                events.close()


class _Events:
    """One event file; an error in writing it is raised at once.

    tensorboardX's writer passes events to a thread through a short queue. If the disk is full, that
    thread dies, and training would wait for ever to put events into the queue.
    """

    def __init__(self, folder: Path, first: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names; a resumed run's file comes later.
        file = folder / f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}"
        self._writer = RecordWriter(str(file))
        # TensorBoard hides what an interrupted run wrote from this step on.
        self._add(Event(step=first, file_version=_FORMAT))
        self._add(Event(step=first, session_log=SessionLog(status=SessionLog.START)))

    def write(self, summary: Summary, step: int) -> None:
        try:
            self._add(Event(step=step, summary=summary))
            self._writer.flush()
        except OSError:
            # Closed now; otherwise the interpreter would try to write the rest at exit, and fail.
            with contextlib.suppress(OSError):
                self._writer.close()
            raise

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())

    def close(self) -> None:
        self._writer.close()


def _scalars(values: Mapping[str, float]) -> Summary:
    return Summary(value=[scalar(name, value).value[0] for name, value in values.items()])
