"""A worker seen from outside: started, asked, held still while others compute, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MAX_REPLY = 64 * 2**20
OPEN_S, TURN_S = 600.0, 180.0
"""How long opening a network may take, which for some means compiling it, and a turn."""
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class PeerError(Exception):
    """A peer does not take part any further; the message is the reason, a line."""


def environment(threads: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables a worker gets: these threads, and nothing of our environment's paths."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {**kept, **dict.fromkeys(_THREAD_VARIABLES, str(threads)), **(extra or {})}


class Worker:
    """One process that answers a line of JSON with a line of JSON.

    Between requests it is stopped by a signal, so that threads which spin for a while after their
    work, as those of OpenMP do, take nothing from whoever is next.

    Args:
        command: interpreter, script and arguments.
        cores: the processors that it may use.
        variables: its environment, see :func:`environment`.
        log: file for what it writes to standard error.

    Raises:
        PeerError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        cores: Iterable[int],
        variables: Mapping[str, str],
        log: Path,
    ) -> None:
        self._log = log
        self._rest = b""
        self._dead: str | None = None
        with log.open("wb") as errors, _affinity(cores):
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=dict(variables),
                    # So that it is stopped and ended together with its own children.
                    process_group=0,
                )
            except OSError as error:
                raise PeerError(f"cannot start {command[0]}: {error.strerror}") from None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def ask(self, timeout: float = TURN_S, **request: Any) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises:
            PeerError: it answered with an error, which leaves it alive; or it died, hangs, or
                said something else than an answer, after which every request raises the same.
        """
        return self.ask_all([request], timeout)[-1]

    def ask_all(self, requests: Sequence[dict[str, Any]], timeout: float) -> list[dict[str, Any]]:
        """Send several requests at once and return the replies; raises as :meth:`ask` does."""
        if self._dead is not None:
            raise PeerError(self._dead)
        self._signal(signal.SIGCONT)
        try:
            self._send("".join(json.dumps(request) + "\n" for request in requests).encode())
            deadline = time.monotonic() + timeout
            replies = [self._reply(deadline, timeout) for _ in requests]
        except PeerError as error:
            self._dead = str(error)
            self.close()
            raise
        self._signal(signal.SIGSTOP)
        for reply in replies:
            if "error" in reply:
                raise PeerError(str(reply["error"]))
        return replies

    def close(self) -> None:
        """End the process and what it started."""
        self._dead = self._dead or "it was ended"
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None  # noqa: S101 - both were asked for
                pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError:
            raise PeerError(self._last_words()) from None

    def _reply(self, deadline: float, timeout: float) -> dict[str, Any]:
        while b"\n" not in self._rest:
            self._rest += self._read(deadline, timeout)
            if len(self._rest) > MAX_REPLY:
                raise PeerError(f"its answer is longer than {MAX_REPLY // 2**20} MiB")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            # NaN and infinity are no numbers that anybody measured.
            reply = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            shown = line[:60].decode("utf-8", "replace")
            raise PeerError(f"it said {shown!r}, which is no answer")
        return reply

    def _read(self, deadline: float, timeout: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise PeerError(f"no answer within {timeout:g} s")
        data = os.read(self._process.stdout.fileno(), 2**16)
        if not data:
            raise PeerError(self._last_words())
        return data

    def _last_words(self) -> str:
        """Return how the process ended, with the last line of its standard error."""
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "it closed its output and goes on"
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return f"it ended ({ended})" + (f": {lines[-1].strip()[:300]}" if lines else "")


def _refuse(name: str) -> float:
    raise ValueError(name)


@contextlib.contextmanager
def _affinity(cores: Iterable[int]) -> Any:
    """Have what is started meanwhile run on these processors: it inherits our own."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
