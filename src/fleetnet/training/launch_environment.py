"""What the environment says of a launch of several processes, by torchrun or by us."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetnet.data.shares import Place
from fleetnet.errors import FleetnetError

MEETING_FILE = "FLEETNET_MEETING_FILE"
"""The file by which the processes of one machine find each other; torchrun has an address."""
LAUNCH = "TORCHELASTIC_RUN_ID"
RESTARTS = "TORCHELASTIC_RESTART_COUNT"
LOST = 75
"""Exit code of a process that another one has left alone: the group can go on without a change."""


@dataclass(frozen=True)
class Launched:
    """A process as one of those of a launch.

    Attributes:
        place: among all of them.
        local_rank: among those of its machine.
        meeting_file: by which they find each other; empty if they do by an address.
        name: of the launch, the same after a restart; empty if it has none.
        restarts: how often the processes of this launch were started anew.
    """

    place: Place
    local_rank: int = 0
    meeting_file: str = ""
    name: str = ""
    restarts: int = 0

    @classmethod
    def found(cls, environment: Mapping[str, str] = os.environ) -> Launched | None:
        """Return what torchrun, or whoever sets the same variables, says; None of no launch.

        Raises:
            FleetnetError: the variables are incomplete or no numbers.
        """
        if "RANK" not in environment or "WORLD_SIZE" not in environment:
            return None
        rank, size = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
        if not 0 <= rank < size:
            raise FleetnetError(f"RANK is {rank}; it must be from 0 to WORLD_SIZE - 1 = {size - 1}")
        meeting_file = environment.get(MEETING_FILE, "")
        missing = [key for key in ("MASTER_ADDR", "MASTER_PORT") if not environment.get(key)]
        if missing and size > 1 and not meeting_file:
            raise FleetnetError(
                f"RANK={rank} and WORLD_SIZE={size} are set, but not {' and '.join(missing)}: "
                "start the processes with torchrun, set all four, or unset these two"
            )
        return cls(
            Place(rank, size),
            _number(environment, "LOCAL_RANK"),
            meeting_file,
            environment.get(LAUNCH, "") if meeting_file else _agent(environment.get(LAUNCH, "")),
            _number(environment, RESTARTS, 0),
        )


def _agent(name: str) -> str:
    """Return a name for a launch by torchrun: its own is often that of an earlier launch as well.

    What starts our processes anew is the same process each time; where that cannot be told apart
    from others, the launch has no name.
    """
    try:
        # The 22nd field of a process: when it began. The second one may hold blanks.
        fields = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
        return f"{name} {platform.node()} {os.getppid()} {fields[19]}" if name else ""
    except (OSError, IndexError):
        return ""


def _number(environment: Mapping[str, str], key: str, default: int = 0) -> int:
    text = environment.get(key)
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise FleetnetError(f"the environment variable {key} is {text!r}, no number") from None
