"""Several processes that train together, as forks of one; for scripts that a test starts.

Such a script has to begin with ``forked.alone()``: a fork is safe only where no thread computes.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fleetnet.data.shares import Place
from fleetnet.errors import FleetnetError
from fleetnet.training.launch_environment import Launched
from fleetnet.training.ranks import Ranks, joined


def alone() -> None:
    """Compute in one thread, and connect over the loopback alone."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)


def ranks_of(size: int, work: Callable[[Ranks], Any], timeout_s: float = 120) -> list[Any]:
    """Return what ``work`` returns in each of ``size`` processes; an error of ours as such."""
    with tempfile.TemporaryDirectory() as folder:
        children: list[int] = []
        for rank in range(size):
            child = os.fork()
            if child == 0:
                os._exit(_child(rank, size, work, timeout_s, Path(folder)))
            children.append(child)
        left = list(children)
        stopped: list[int] = []
        while len(left) > len(stopped):
            child, status = os.waitpid(-1, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                stopped.append(child)
            else:
                left.remove(child)
        for child in stopped:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        results = [Path(folder) / f"result-{rank}" for rank in range(size)]
        return [pickle.loads(file.read_bytes()) if file.exists() else None for file in results]  # noqa: S301 - our own


def _child(
    rank: int, size: int, work: Callable[[Ranks], Any], timeout_s: float, folder: Path
) -> int:
    launched = Launched(Place(rank, size), rank, str(folder / "meeting"), "test")
    try:
        with joined(launched, timeout_s) as ranks:
            result = work(ranks)
    except FleetnetError as error:
        result = error
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    (folder / f"result-{rank}").write_bytes(pickle.dumps(result))
    return 0
