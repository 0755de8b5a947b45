"""Scripts in environments of their own: converting files, and running a network.

A script knows nothing of Fleetnet. It may die, as native converters do, and then that is one line
and not the end of this process.
"""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path
from typing import IO, Any

import numpy as np

from fleetnet.errors import FleetnetError
from fleetnet.export.separate.environment import Environment
from fleetnet.files import write_error
from fleetnet.inference.engines import Logits, Pixels

_LENGTH = struct.Struct("<II")


def convert(
    environment: Environment,
    script: str,
    files: Mapping[str, bytes],
    results: tuple[str, ...],
    settings: Mapping[str, Any] | None = None,
    *,
    patience: float = 1800.0,
) -> dict[str, bytes]:
    """Run a script that turns files into others.

    Args:
        environment: that has what the script imports.
        script: name of a file in ``scripts/``, without its ending; it is called with a folder.
        files: put into the folder first.
        results: names of the files that it leaves there.
        settings: put there as ``settings.json``.
        patience: seconds after which it is ended.

    Raises:
        FleetnetError: it failed, died, or took too long.
    """
    program = environment.make()
    with _folder(files, settings) as folder, _script(script, environment.ending) as path:
        try:
            done = subprocess.run(  # noqa: S603 - our own script
                [program, path, folder],
                cwd=folder,
                env=environment.variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FleetnetError(
                f"the converter of '{environment.name}' was not done after {patience:.0f} s"
            ) from None
        if done.returncode:
            raise FleetnetError(
                _death(environment, script, done.returncode, done.stderr or done.stdout)
            )
        try:
            return {file: (folder / file).read_bytes() for file in results}
        except OSError as error:
            missing = Path(str(error.filename)).name
            raise FleetnetError(
                f"the converter of '{environment.name}' left no {missing}"
            ) from None


class Worker:
    """A script that has loaded a network, and answers pixels until it is closed.

    Args:
        environment: that has what the script imports.
        script: name of a file in ``scripts/``, without its ending.
        files: of the network.
        settings: put beside them as ``settings.json``.

    Raises:
        FleetnetError: the script cannot load the network.
    """

    def __init__(
        self,
        environment: Environment,
        script: str,
        files: Mapping[str, bytes],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        program = environment.make()
        self._environment = environment
        self._script = script
        self._turn = threading.Lock()
        self._seconds: list[float] = []
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(_folder(files, settings))
            path = stack.enter_context(_script(script, environment.ending))
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(  # noqa: S603 - our own script
                [program, path, folder],
                cwd=folder,
                env=environment.variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
            stack.callback(self._end)
            self._read()
            self._stack = stack.pop_all()

    def __call__(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, crop, crop, 3]`` to logits ``float32[N, K]``.

        Raises:
            FleetnetError: the script refuses them, or died.
        """
        with self._turn:
            content = np.ascontiguousarray(pixels).tobytes()
            try:
                self._input.write(_LENGTH.pack(len(pixels), len(content)) + content)
                self._input.flush()
            except OSError:
                raise FleetnetError(self._why_dead()) from None
            answer = self._read()
            rows = np.frombuffer(answer, np.float32, offset=8).reshape(len(pixels), -1)
            self._seconds.append(struct.unpack_from("<d", answer)[0])
            return rows.copy()

    def latency_ms(self, pixels: Pixels, runs: int) -> float:
        """Return the median time of so many runs, as the script takes it, in milliseconds."""
        self._seconds.clear()
        for _ in range(runs + 1):
            self(pixels)
        return statistics.median(self._seconds[1:]) * 1000

    def close(self) -> None:
        """End the process; may be called again."""
        self._stack.close()

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        return self._process.stdin

    def _read(self) -> bytes:
        """Return the next message: a length and its content; 0 precedes a reason."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        head = self._process.stdout.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise FleetnetError(self._why_dead())
        good, length = _LENGTH.unpack(head)
        content = self._process.stdout.read(length)
        if len(content) < length:
            raise FleetnetError(self._why_dead())
        if not good:
            raise FleetnetError(content.decode("utf-8", "replace"))
        return content

    def _why_dead(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        return _death(self._environment, self._script, code, self._errors.read()[-20_000:])

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def _folder(files: Mapping[str, bytes], settings: Mapping[str, Any] | None) -> Iterator[Path]:
    """Yield a folder of these files for a script, with ``settings.json``.

    Raises:
        FleetnetError: the disk for temporary files is full, or cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="fleetnet-"))
            folder = Path(name)
            for file, content in files.items():
                (folder / file).write_bytes(content)
            (folder / "settings.json").write_text(json.dumps(dict(settings or {})), "utf-8")
        except OSError as error:
            raise write_error(Path(tempfile.gettempdir()), error) from error
        yield folder


@contextlib.contextmanager
def _script(name: str, ending: str = ".py") -> Iterator[Path]:
    # The whole folder: scripts share what they say to us by.
    with as_file(resources(__package__) / "scripts") as there:
        yield there / f"{name}{ending}"


def _death(environment: Environment, script: str, code: int, told: bytes) -> str:
    """Return the line about a script that ended: what it says itself, or where it went wrong."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the converter of '{environment.name}' died: {signal.Signals(-code).name}"
    lines = [line.strip() for line in told.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return f"the converter of '{environment.name}' ended with {code}"
    foreseen = not any(line.startswith("Traceback (most recent call last)") for line in lines)
    where = "" if foreseen else f"the converter of '{environment.name}' failed in {script}: "
    return f"{where}{lines[-1]}"[:1000]
