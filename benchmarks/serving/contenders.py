"""The servers that are compared, each a process in an environment of its own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = HERE / "peers"
STARTING = 120.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass
class Server:
    """A server that runs, and stands still while others are measured.

    Attributes:
        title: in the tables.
        addresses: by the title of the row, as ``load.py`` takes them.
        ready_s: from the start of the process until it answered.
    """

    title: str
    command: Sequence[str | os.PathLike[str]]
    addresses: Mapping[str, str]
    probe: str
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = HERE
    log: Path = Path(os.devnull)
    ready_s: float = 0.0

    def __enter__(self) -> Self:
        started = time.perf_counter()
        self._log = self.log.open("wb")
        self._process = subprocess.Popen(
            self.command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        try:
            self._wait(started + STARTING)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.ready_s = time.perf_counter() - started
        return self

    def _wait(self, end: float) -> None:
        while not _answers(self.probe):
            if self._process.poll() is not None:
                raise SystemExit(f"error: {self.title} ended: {self.log.read_text()[-2000:]}")
            if time.perf_counter() > end:
                raise SystemExit(f"error: {self.title} answers nothing: see {self.log}")
            time.sleep(0.01)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def still(self, still: bool) -> None:
        """Hold all its processes, or let them go on."""
        self._signal(signal.SIGSTOP if still else signal.SIGCONT)

    def _signal(self, number: int) -> None:
        # BentoML's workers are in a process group of their own.
        for process in _family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def processor_s(self) -> float:
        """Return what all its processes have computed."""
        return sum(map(_processor_s, _family(self._process.pid)))

    def memory_mb(self) -> float:
        """Return its resident memory; what its processes share is counted once."""
        return sum(map(_memory_mb, _family(self._process.pid)))


def _answers(probe: str) -> bool:
    try:
        with urllib.request.urlopen(probe, timeout=1):  # noqa: S310 - of this machine
            return True
    except (urllib.error.URLError, OSError):
        return False


def _family(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            waiting += map(int, children.read_text().split())
    return found


def _processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(process: int) -> float:
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0]) / 1024


def contenders(
    model: Path, threads: int, only: Sequence[str] = ()
) -> dict[str, Callable[[Path], Server]]:
    """Return what starts each server whose environment is there.

    Args:
        model: a network that is a bundle by itself.
        threads: that each may compute with.
        only: titles that begin so; all if empty.
    """
    network = str(model)
    peers = {"MODEL": network, "SERVER_THREADS": str(threads), "NETWORK_THREADS": "1"}
    found = {
        "Fleetnet": lambda logs: _fleetnet(network, threads, "openvino", logs),
        "Fleetnet, ONNX Runtime": lambda logs: _fleetnet(network, threads, "onnxruntime", logs),
        "FastAPI": lambda logs: _fastapi(peers, threads, logs),
        "BentoML": lambda logs: _bentoml(peers, logs),
        "LitServe": lambda logs: _litserve(peers, logs),
        "MLServer": lambda logs: _mlserver(peers, threads, logs),
    }
    environments = {
        "FastAPI": "fastapi",
        "BentoML": "bentoml",
        "LitServe": "litserve",
        "MLServer": "mlserver",
    }
    return {
        title: start
        for title, start in found.items()
        if (not only or title in only)
        and (title not in environments or _python(environments[title]).exists())
    }


def _python(environment: str) -> Path:
    return ROOT / f".venv-{environment}" / "bin" / "python"


def _fleetnet(network: str, threads: int, engine: str, logs: Path) -> Server:
    http, grpc, brpc = free_port(), free_port(), free_port()
    title = "Fleetnet" if engine == "openvino" else "Fleetnet, ONNX Runtime"
    ports = ["--port", str(http), "--grpc-port", str(grpc), "--brpc-port", str(brpc)]
    return Server(
        title,
        [
            *[sys.executable, "-m", "fleetnet", "serve", f"network={network}", *ports],
            *["--threads", str(threads), "--engine", engine, "--log", "json"],
        ],
        {
            f"{title}, REST": f"http://127.0.0.1:{http}/classify",
            f"{title}, gRPC": f"grpc://127.0.0.1:{grpc}/network",
            f"{title}, bRPC": f"brpc://127.0.0.1:{brpc}/network",
        },
        f"http://127.0.0.1:{http}/v2/health/ready",
        log=logs / f"{engine}.log",
    )


def _fastapi(peers: Mapping[str, str], threads: int, logs: Path) -> Server:
    port = free_port()
    return Server(
        "FastAPI",
        [_python("fastapi"), "-m", "uvicorn", "plain:app", "--port", str(port), "--no-access-log"],
        {
            "FastAPI, async def": f"form://127.0.0.1:{port}/async",
            "FastAPI, def": f"form://127.0.0.1:{port}/threads",
        },
        f"http://127.0.0.1:{port}/openapi.json",
        {**peers, "NETWORK_THREADS": str(threads)},
        PEERS,
        logs / "fastapi.log",
    )


def _bentoml(peers: Mapping[str, str], logs: Path) -> Server:
    port = free_port()
    return Server(
        "BentoML",
        [
            *[_python("bentoml"), "-m", "bentoml", "serve", "bento:Classifier"],
            *["--host", "127.0.0.1", "--port", str(port)],
        ],
        {"BentoML": f"form://127.0.0.1:{port}/classify"},
        f"http://127.0.0.1:{port}/readyz",
        {**peers, "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(logs / "bentoml")},
        PEERS,
        logs / "bentoml.log",
    )


def _litserve(peers: Mapping[str, str], logs: Path) -> Server:
    port = free_port()
    return Server(
        "LitServe",
        [_python("litserve"), PEERS / "lit.py"],
        {"LitServe": f"form://127.0.0.1:{port}/predict"},
        f"http://127.0.0.1:{port}/health",
        {**peers, "PORT": str(port), "LIT_DISABLE_TRACKING": "1"},
        PEERS,
        logs / "litserve.log",
    )


def _mlserver(peers: Mapping[str, str], threads: int, logs: Path) -> Server:
    port = free_port()
    folder = logs / "mlserver"
    folder.mkdir()
    for name in ("classify.py", "ml.py"):
        shutil.copy(PEERS / name, folder)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": threads,
        "debug": False,
    }
    model = {"name": "network", "implementation": "ml.Runtime"}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return Server(
        "MLServer",
        [_python("mlserver").parent / "mlserver", "start", "."],
        {"MLServer": f"base64://127.0.0.1:{port}/v2/models/network/infer"},
        f"http://127.0.0.1:{port}/v2/models/network/ready",
        {**peers, "PYTHONPATH": str(folder)},
        folder,
        logs / "mlserver.log",
    )
