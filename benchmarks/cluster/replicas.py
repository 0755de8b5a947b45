"""The REST service behind Ray Serve, beside the same service without it.

    python benchmarks/cluster/replicas.py [FOLDER] [--rounds 3] [--seconds 4] [--quick]
        [--json FILE]

All serve the same untrained network on all processors of this machine, which the client shares: as
one process, as workers, as replicas behind Ray Serve's own proxy, and behind HAProxy. In every
round each is started, asked and ended, so that only one of them runs at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "serving"), str(HERE.parent / "pipeline")]

from compare import Load, ask  # noqa: E402
from contenders import Server, free_port  # noqa: E402
from material import machine, parser, photographs, untrained  # noqa: E402

from fleetnet.measuring import spread, turns  # noqa: E402

INSIDE = "FLEETNET_BENCHMARK_APART"
# Ray opens many ports: its processes get a network that has loopback and nothing else.
APART = ["unshare", "-rnpf", "--mount-proc", "--kill-child", "sh", "-c"]
BEGIN = 'ip link set lo up && exec "$@"'
HA_PROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
ENDING = 120.0


class Way(NamedTuple):
    """A way to serve.

    Attributes:
        options: of ``fleetnet serve``.
        environment: more variables.
    """

    options: list[str]
    environment: Mapping[str, str]


class Alone(Server):
    """A server that is alone on the machine while it runs, and ends as users end it."""

    def still(self, still: bool) -> None:
        """Leave it as it is: nobody else is measured meanwhile."""

    def processor_s(self) -> float:
        """Return what all its processes have computed; Ray's come and go."""
        return _tried(super().processor_s)

    def memory_mb(self) -> float:
        """Return its resident memory."""
        return _tried(super().memory_mb)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            super().__exit__(kind, value, trace)


def _tried(measure: Callable[[], float]) -> float:
    while True:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return measure()


def ways(processors: int) -> dict[str, Way]:
    """Return the ways that are compared; all use all processors."""
    number, one = str(processors), ["--no-grpc", "--no-brpc", "--threads", "1"]
    whole = [*one[:-1], number]
    ray = [*one, "--ray", "--replicas", number]
    return {
        "one process": Way(whole, {}),
        f"{number} workers": Way([*whole, "--workers", number], {}),
        f"Ray, {number} replicas": Way(ray, {}),
        f"Ray, {number} replicas, HAProxy": Way(ray, HA_PROXY),
    }


def server_of(title: str, way: Way, model: Path, folder: Path) -> Alone:
    """Return a server that is not started yet."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    return Alone(
        title,
        [
            *[sys.executable, "-m", "fleetnet", "serve", f"network={model}"],
            *["--port", str(port), "--log", "json", *way.options],
        ],
        {title: f"{address}/classify"},
        f"{address}/v2/health/ready",
        environment=way.environment,
        log=folder / f"{title}.log",
    )


def main() -> None:
    """Parse, measure and print."""
    options = parser(__doc__, rounds=3, limit=120)
    options.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--json", type=Path, help="file for the figures of every round")
    options.add_argument("--quick", action="store_true", help="whether everything works")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.seconds, chosen.limit, chosen.concurrency = 1, 0.5, 8, [1, 4]
    found: dict[tuple[str, int], list[Load]] = {}
    ready: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "photos"
        photos.mkdir()
        for file in photographs(chosen.folder)[: chosen.limit]:
            (photos / file.name).symlink_to(file.resolve())
        model = untrained(chosen.model, folder)
        known = ways(os.cpu_count() or 1)

        def measure(title: str) -> None:
            with server_of(title, known[title], model, folder) as server:
                ready.setdefault(title, []).append(server.ready_s)
                for concurrency in chosen.concurrency:
                    load = ask(
                        server,
                        server.addresses[title],
                        photos,
                        concurrency=concurrency,
                        seconds=chosen.seconds,
                    )
                    found.setdefault((title, concurrency), []).append(load)
            print(title, file=sys.stderr, flush=True)
            if chosen.json:
                write(found, ready, chosen.json)

        for title in turns(known, chosen.rounds):
            measure(title)
    print(
        f"{chosen.model}, fp32, {chosen.limit} photographs at most, {chosen.rounds} rounds of "
        f"{chosen.seconds:g} s, client and server on the same {machine()}: median "
        "(lowest–highest)\n"
    )
    report(found, ready)


def write(
    found: Mapping[tuple[str, int], list[Load]], ready: Mapping[str, list[float]], file: Path
) -> None:
    """Write the figures of every round so far."""
    rows = {f"{title}, {at_once} at once": loads for (title, at_once), loads in found.items()}
    figures = {name: [one._asdict() for one in loads] for name, loads in rows.items()}
    file.write_text(json.dumps({"loads": figures, "ready_s": ready}, indent=2) + "\n", "utf-8")


def report(found: Mapping[tuple[str, int], list[Load]], ready: Mapping[str, list[float]]) -> None:
    """Print the tables."""
    print("| | at once | answers/s | p50, ms | p99, ms | CPU, ms | not answered |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    columns: list[tuple[Callable[[Load], float], str]] = [
        (lambda load: load.rate, ".0f"),
        (lambda load: load.p50_ms, ".1f"),
        (lambda load: load.p99_ms, ".1f"),
        (lambda load: load.server_ms, ".2f"),
    ]
    for (title, concurrency), loads in found.items():
        cells = [spread([of(load) for load in loads]).with_range(form) for of, form in columns]
        lost = sum(sum(load.outcomes.values()) - load.outcomes["answered"] for load in loads)
        print(f"| {title} | {concurrency} | {' | '.join(cells)} | {lost} |")
    print("\nCPU is the processor time of all of the server's processes a request.")
    print("\n| | ready after, s | resident, MB |\n| --- | ---: | ---: |")
    for title, seconds in ready.items():
        memory = max(
            load.memory_mb for key, loads in found.items() if key[0] == title for load in loads
        )
        print(f"| {title} | {spread(seconds).with_range('.1f')} | {memory:.0f} |")


if __name__ == "__main__":
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp(APART[0], [*APART, BEGIN, "sh", sys.executable, *sys.argv])  # noqa: S606
    main()
