"""``fleetnet train`` as one of several processes that a launch starts, and that dies at times.

    dying.py KILLS NOTES train ARGUMENTS ...

In the first KILLS attempts, in turns, the second process is killed in its first step and the first
one half-way through writing its second checkpoint. Each attempt adds to the file NOTES the step
that it goes on from.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from fleetnet.cli import main
from fleetnet.training.launch_environment import Launched
from fleetnet.training.train_step import TrainStep
from fleetnet.training.trainer import Trainer


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_the_first_step() -> None:
    def take(*_: Any, **__: Any) -> None:
        die()

    TrainStep.take = take  # type: ignore[method-assign, assignment]


def die_in_the_second_save() -> None:
    write, saves = Path.write_bytes, 0

    def write_bytes(path: Path, content: Any) -> int:
        nonlocal saves
        saves += 1
        if saves == 2:
            write(path, memoryview(content)[: len(content) // 2])
            die()
        return write(path, content)

    Path.write_bytes = write_bytes  # type: ignore[method-assign, assignment]


def note_the_start(notes: Path) -> None:
    fit = Trainer.fit

    def noting(trainer: Trainer, *arguments: Any) -> Any:
        with notes.open("a") as file:
            file.write(f"{trainer.progress.step}\n")
        return fit(trainer, *arguments)

    Trainer.fit = noting  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    launched = Launched.found()
    assert launched is not None
    rank, attempt = launched.place.rank, launched.restarts
    if rank == 0:
        note_the_start(Path(sys.argv[2]))
    if attempt < int(sys.argv[1]) and rank != attempt % 2:
        (die_in_the_second_save if rank == 0 else die_in_the_first_step)()
    main(sys.argv[3:])
