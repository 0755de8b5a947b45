"""The setup and the outcome of a comparison."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers.contenders import Contender
from benchmarks.peers.process import PeerError, Worker, environment
from benchmarks.peers.rounds import LeftOut, Times

WORKERS = Path(__file__).with_name("workers")


@dataclass
class Place:
    """Where interpreters and models are, and where to compute.

    Attributes:
        pythons: name of an environment to its interpreter.
        models: folder of the models that contenders open, and of logs.
        cores: the processors to compute on; contenders on fewer use the first ones.
        say: called with a line on each step.
        unmade: models that could not be made, with the reasons.
    """

    pythons: dict[str, Path]
    models: Path
    cores: list[int]
    say: Callable[[str], None] = lambda _: None
    unmade: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """The results of a comparison.

    Attributes:
        contenders: all that were to be compared, in the order of the table.
        times: seconds in each round, of the contenders that finished all rounds.
        left_out: why the others did not.
        about: versions and settings.
        agreement: how close the answers are to those expected, as text.
        peak_bytes: peak memory of the contender's process, where it was measured.
        processor: seconds of all threads together, where they were measured; other work on the
            machine affects them less than ``times``.
    """

    contenders: list[Contender]
    times: Times = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    agreement: dict[str, str] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    processor: Times = field(default_factory=dict)

    def leave_out(self, reasons: LeftOut) -> None:
        """Add reasons, and remove all other results of these contenders."""
        self.left_out.update(reasons)
        for name in reasons:
            self.times.pop(name, None)
            self.processor.pop(name, None)


def start(contender: Contender, place: Place) -> Worker:
    """Start a process that serves a contender.

    Raises:
        PeerError: its environment or model is not there.
    """
    _check(contender, place)
    logs = place.models / "logs"
    logs.mkdir(exist_ok=True)
    variables = environment(contender.threads)
    variables["TORCHINDUCTOR_CACHE_DIR"] = str(place.models / "inductor")
    if contender.environment == "ours" and "PYTHONPATH" in os.environ:
        variables["PYTHONPATH"] = os.environ["PYTHONPATH"]
    python, script = place.pythons[contender.environment], WORKERS / f"{contender.worker}.py"
    log = "-".join(map(str, contender.process)).replace(":", "-") + ".txt"
    return Worker(
        [python, "-W", "ignore", script, str(contender.threads), contender.setting],
        place.cores[: contender.cores],
        variables,
        logs / log,
    )


def _check(contender: Contender, place: Place) -> None:
    python = place.pythons[contender.environment]
    if not python.exists():
        raise PeerError(f"its environment is not installed: there is no {python}")
    if not (place.models / contender.model).exists():
        reason = place.unmade.get(contender.model, f"there is no {contender.model}")
        raise PeerError(f"its model could not be made: {reason}")


class Workers:
    """The worker processes of a comparison; one serves all contenders that can share it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._workers: dict[tuple[str, str, str, int, int], Worker] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.close()

    def worker(self, contender: Contender) -> Worker:
        """Return the process that serves a contender; started if it is the first.

        Raises:
            PeerError: its environment or model is not there.
        """
        _check(contender, self._place)
        if contender.process not in self._workers:
            self._workers[contender.process] = start(contender, self._place)
        return self._workers[contender.process]


def text_of(reply: dict[str, Any], key: str) -> str:
    """Return a text from a reply.

    Raises:
        PeerError: there is none.
    """
    value = reply.get(key)
    if not isinstance(value, str):
        raise PeerError(f"it answered without {key}")
    return value


def numbers_of(reply: dict[str, Any], key: str, count: int) -> list[float]:
    """Return so many numbers from a reply; raises as :func:`text_of` does."""
    values = reply.get(key)
    if not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
        raise PeerError(f"it answered without {count} numbers for {key}")
    return list(map(float, values))


def rows_of(reply: dict[str, Any], key: str, count: int, length: int) -> list[list[float]]:
    """Return so many rows of so many numbers; raises as :func:`text_of` does."""
    rows = reply.get(key)
    if not isinstance(rows, list) or len(rows) != count:
        raise PeerError(f"it answered without {count} rows of {key}")
    return [numbers_of({key: row}, key, length) for row in rows]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def by_name(contenders: Sequence[Contender]) -> dict[str, Contender]:
    """Return contenders by their names."""
    return {contender.name: contender for contender in contenders}
