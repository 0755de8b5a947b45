"""Train in child processes that are killed again and again, and resumed; run by a test.

    killed.py DATA OUTPUT KILLS SEED [RECIPE SETTING ...]

Each child starts or resumes the run in OUTPUT. The first KILLS of them die of SIGKILL: at a random
moment, half-way through writing a checkpoint, or just before it is renamed. Prints how each died.

None saves more than once before that, however fast the machine is: KILLS deaths need a run that
saves more often.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from fleetnet.data.sources import open_source
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import resume, train


def run(data: str, output: Path, settings: list[str]) -> None:
    """Start the run, or go on with it."""
    source = open_source(data)
    if (output / "last.ckpt").exists():
        resume(source, output)
    else:
        train(source, "MobileNetV2_x0_25", Recipe.load(overrides=settings), output)


def die(*_: Any) -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_death() -> None:
    """Get no further."""
    while True:
        signal.pause()


def die_while_saving(how: str, after: int) -> None:
    """Arrange for the end of this process in its ``after``-th save of a checkpoint."""
    write, saves = Path.write_bytes, 0

    def write_bytes(path: Path, content: Any) -> int:
        nonlocal saves
        saves += 1
        if saves < after:
            return write(path, content)
        if how == "random":
            wait_for_death()
        write(path, memoryview(content)[: len(content) // 2] if how == "half" else content)
        Path.replace = die  # type: ignore[assignment]
        if how == "half":
            die()
        return 0

    Path.write_bytes = write_bytes  # type: ignore[method-assign, assignment]


def main(data: str, output: str, kills: int, seed: int, settings: list[str]) -> None:
    """Kill ``kills`` children, then let one finish."""
    torch.set_num_threads(1)
    dice = random.Random(seed)  # noqa: S311 - not a secret
    for number in range(kills + 1):
        how = ["random", "random", "half", "rename"][number % 4] if number < kills else "never"
        after = dice.randint(1, 2)
        child = os.fork()
        if child == 0:
            if how != "never":
                die_while_saving(how, after)
            run(data, Path(output), settings)
            os._exit(0)
        if how == "random":
            time.sleep(dice.uniform(0.05, 0.6))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status)
        print(how, "killed" if died else f"exit {os.waitstatus_to_exitcode(status)}", flush=True)  # noqa: T201
        if not died and number < kills:
            sys.exit("the run ended before it was killed: give it more to do")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
