"""Results that survive a kill: a file of lines to which a study only appends.

The first line has the settings, each other one a result. A line that was cut off when a process was
killed is taken away, and what it stood for is measured again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from fleetnet.errors import FleetnetError, OvertakenError
from fleetnet.files import write_error
from fleetnet.locks import locked
from fleetnet.schema import first_problem

MOST_BYTES = 1_000_000_000
Line = TypeVar("Line", bound=BaseModel)


class ResultsFile(Generic[Line]):
    """The results of a study.

    Args:
        path: of the file.
        settings: what determines the study; the results of another one are refused.
        line: the schema of a result.
    """

    def __init__(self, path: Path, settings: BaseModel, line: type[Line]) -> None:
        self.path, self._settings, self._line = path, settings, line

    @contextlib.contextmanager
    def taken(self) -> Iterator[list[Line]]:
        """Yield the results that are there, and keep other processes out meanwhile.

        Raises:
            OvertakenError: another process writes them.
            FleetnetError: the file is of another study, damaged, or cannot be written.
        """
        from filelock import Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.with_suffix(".lock"), timeout=0):
                yield self._opened()
        except Timeout:
            raise OvertakenError(
                f"another process is writing {self.path}: wait for it, or choose another output=",
                arguments=["output"],
            ) from None
        except OSError as error:
            raise write_error(self.path, error) from error

    def append(self, result: Line) -> None:
        """Write one more result to the disk."""
        self._write(result.model_dump(mode="json"))

    def _opened(self) -> list[Line]:
        if not self.path.exists():
            self._write(self._settings.model_dump(mode="json"))
            return []
        if self.path.stat().st_size > MOST_BYTES:
            raise self._wrong("it is larger than a gigabyte")
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        lines = content[:whole].splitlines()
        if not lines:
            self._write(self._settings.model_dump(mode="json"))
            return []
        self._check_settings(self._values(lines[0], 1))
        return [self._result(line, number) for number, line in enumerate(lines[1:], start=2)]

    def _check_settings(self, found: Any) -> None:
        wanted = self._settings.model_dump(mode="json")
        if found == wanted:
            return
        if not isinstance(found, dict) or found.get("study") != wanted["study"]:
            raise self._wrong(f"it is not of a study of {wanted['study']}")
        keys = [key for key in wanted if found.get(key) != wanted[key]] or ["others"]
        raise FleetnetError(
            f"{self.path} is of a study with other settings ({', '.join(keys)}): repeat those to "
            "go on with it, or choose another output=",
            file=str(self.path),
            arguments=["output"],
        )

    def _result(self, line: bytes, number: int) -> Line:
        try:
            return self._line.model_validate(self._values(line, number))
        except ValidationError as error:
            found = first_problem(error)
            raise self._wrong(f"line {number}: {found.place}: {found.text}") from None

    def _values(self, line: bytes, number: int) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise self._wrong(f"line {number} is not JSON") from None

    def _wrong(self, why: str) -> FleetnetError:
        return FleetnetError(
            f"{self.path} cannot be gone on with: {why}; choose another output=",
            file=str(self.path),
            arguments=["output"],
        )

    def _write(self, values: Any) -> None:
        content = json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self.path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
