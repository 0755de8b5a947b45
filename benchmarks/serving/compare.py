"""Fleetnet's server beside others with the same graph, and beside the bundle in process.

python benchmarks/serving/compare.py [FOLDER] [--quick] [--only Fleetnet FastAPI] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "pipeline")]

from contenders import Server, contenders  # noqa: E402
from material import machine, parser, photographs, untrained  # noqa: E402

from fleetnet import Classifier  # noqa: E402
from fleetnet.measuring import Spread, ratios, spread, turns  # noqa: E402

IN_PROCESS = "in process"
OVERLOAD = 10


class Load(NamedTuple):
    """What a server did under one load.

    Attributes:
        rate: answers a second.
        p50_ms: from a request to its answer.
        p99_ms: likewise.
        server_ms: of processor time, a request, answered or not.
        client_ms: likewise, of the client, which shares the processors.
        memory_mb: resident, afterwards.
        outcomes: how many requests were answered, shed, or anything else.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    server_ms: float
    client_ms: float
    memory_mb: float
    outcomes: Mapping[str, int]


def ask(
    server: Server,
    address: str,
    folder: Path,
    *,
    concurrency: int,
    seconds: float,
    rate: float | None = None,
) -> Load:
    """Keep one server busy while the others stand still.

    Raises:
        SystemExit: the client failed.
    """
    command = [sys.executable, HERE / "load.py", address, folder]
    command += ["--concurrency", str(concurrency), "--seconds", str(seconds)]
    if rate:
        command += ["--rate", str(rate)]
    server.still(False)
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None  # noqa: S101 - it was asked for
            client.stdout.readline()
            before = server.processor_s()
            client.stdout.readline()
            busy = server.processor_s() - before
            told, _ = client.communicate()
        if client.returncode:
            raise SystemExit(f"error: the client of {address} failed")
        memory = server.memory_mb()
    finally:
        server.still(True)
    result = json.loads(told)
    times, outcomes = result["seconds"] or [float("nan")], result["outcomes"]
    asked = sum(count for outcome, count in outcomes.items() if outcome != "never sent")
    return Load(
        outcomes.get("answered", 0) / result["wall_s"],
        float(np.percentile(times, 50)) * 1e3,
        float(np.percentile(times, 99)) * 1e3,
        busy / asked * 1e3,
        result["client_s"] / asked * 1e3,
        memory,
        outcomes,
    )


class InProcess:
    """The bundle in a process that does nothing else, asked by a line."""

    def __init__(self, model: Path, folder: Path, threads: int) -> None:
        command = [sys.executable, HERE / "inprocess.py", model, folder, str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()
        self.rate(1.0)

    def _read(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("error: the bundle in process failed")
        return line

    def rate(self, seconds: float) -> float:
        """Return how many files it answered a second."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        result = json.loads(self._read())
        return float(result["images"] / result["wall_s"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


Rows = dict[str, dict[int, list[Load]]]


def main() -> None:
    """Parse, measure and print."""
    options = parser(__doc__, rounds=5, limit=120)
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16, 64])
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--only", nargs="*", default=[])
    options.add_argument("--quick", action="store_true", help="whether everything works")
    options.add_argument("--json", type=Path, help="file for every single measurement")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.seconds, chosen.limit, chosen.concurrency = 1, 0.5, 8, [1, 4]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        photos = folder / "photos"
        photos.mkdir()
        for file in photographs(chosen.folder)[: chosen.limit]:
            (photos / file.name).symlink_to(file.resolve())
        model = untrained(chosen.model, folder)
        servers = start(chosen, model, folder, stack)
        alone = InProcess(model, photos, chosen.threads)
        stack.callback(alone.close)
        with Classifier(model) as classifier:
            answers = classifier.predict(sorted(photos.iterdir()))
            expected = [answer.top[0].index for answer in answers]
        same = {
            title: agreement(server, address, photos, expected)
            for title, (server, address) in _rows(servers).items()
        }
        rows, rates = measure(chosen, servers, alone, photos)
        overloads = {
            title: overload(chosen, server, address, rows[title], photos)
            for title, (server, address) in _rows(servers).items()
        }
    report(chosen, servers, rows, rates, overloads, same)
    if chosen.json:
        chosen.json.write_text(
            json.dumps(
                {"rows": rows, "in process": rates, "overload": overloads, "same": same}, indent=1
            )
        )


def start(
    chosen: argparse.Namespace, model: Path, folder: Path, stack: contextlib.ExitStack
) -> list[Server]:
    """Start every server, one after the other, and hold it still."""
    servers = []
    for start_one in contenders(model, chosen.threads, chosen.only).values():
        server = stack.enter_context(start_one(folder))
        server.still(True)
        servers.append(server)
    return servers


def _rows(servers: Sequence[Server]) -> dict[str, tuple[Server, str]]:
    return {
        title: (server, address)
        for server in servers
        for title, address in server.addresses.items()
    }


def measure(
    chosen: argparse.Namespace, servers: Sequence[Server], alone: InProcess, photos: Path
) -> tuple[Rows, list[float]]:
    """Let everybody have a turn in every round."""
    ways: dict[tuple[str, int], Callable[[], Any]] = {(IN_PROCESS, 0): lambda: alone.rate(seconds)}
    seconds = chosen.seconds
    for title, (server, address) in _rows(servers).items():
        for concurrency in chosen.concurrency:
            ways[title, concurrency] = _way(server, address, photos, concurrency, seconds)
    rates: list[float] = []
    rows: Rows = {}
    for key in turns(ways, chosen.rounds):
        title, concurrency = key
        got = ways[key]()
        if title == IN_PROCESS:
            rates.append(got)
        else:
            rows.setdefault(title, {}).setdefault(concurrency, []).append(got)
        print(f"{title} at {concurrency}", file=sys.stderr, flush=True)
    return rows, rates


def _way(
    server: Server, address: str, photos: Path, concurrency: int, seconds: float
) -> Callable[[], Load]:
    return lambda: ask(server, address, photos, concurrency=concurrency, seconds=seconds)


def agreement(server: Server, address: str, photos: Path, expected: Sequence[int]) -> float:
    """Return the share of photographs for which a server names the class that the bundle does."""
    server.still(False)
    try:
        command = [sys.executable, HERE / "load.py", address, photos, "--classes"]
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    finally:
        server.still(True)
    got = json.loads(told.stdout)["classes"]
    return float(np.mean([one == other for one, other in zip(got, expected, strict=True)]))


def overload(
    chosen: argparse.Namespace,
    server: Server,
    address: str,
    loads: Mapping[int, Sequence[Load]],
    photos: Path,
) -> Load:
    """Ask ten times as often as the server can answer."""
    best = max(spread([one.rate for one in runs]).median for runs in loads.values())
    return ask(
        server, address, photos, concurrency=512, seconds=chosen.seconds, rate=OVERLOAD * best
    )


def report(
    chosen: argparse.Namespace,
    servers: Sequence[Server],
    rows: Rows,
    rates: Sequence[float],
    overloads: Mapping[str, Load],
    same: Mapping[str, float],
) -> None:
    """Print the tables."""
    print(
        f"{chosen.model}, fp32, {chosen.threads} threads, {chosen.limit} photographs at most, "
        f"{chosen.rounds} rounds in turns of {chosen.seconds:g} s, client and server on the same "
        f"{machine()}: median (lowest–highest)\n"
    )
    print(f"In process, from files to answers: {spread(rates).with_range('.0f')} images/s\n")
    names = ["same class", "at once", "answers/s", "of in process", "p50, ms", "p99, ms"]
    names += ["CPU, ms", "client, ms"]
    print(f"| | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
    for title, alike in same.items():
        for concurrency, runs in sorted(rows[title].items()):
            columns = " | ".join(_columns(runs, rates))
            print(f"| {title} | {alike:.0%} | {concurrency} | {columns} |")
    print("\nCPU is the server's processor time a request, client that of who asks.")
    print("\n| | ready after, s | resident, MB |\n| --- | ---: | ---: |")
    for server in servers:
        memory = max(
            one.memory_mb
            for title in server.addresses
            for runs in rows[title].values()
            for one in runs
        )
        print(f"| {server.title} | {server.ready_s:.2f} | {memory:.0f} |")
    print(f"\nAsked {OVERLOAD} times as often as it can answer:\n")
    print("| | answers/s | p50, ms | p99, ms | outcomes |")
    print("| --- | ---: | ---: | ---: | --- |")
    for title, load in overloads.items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in load.outcomes.items())
        print(f"| {title} | {load.rate:.0f} | {load.p50_ms:.0f} | {load.p99_ms:.0f} | {counts} |")


def _columns(runs: Sequence[Load], rates: Sequence[float]) -> Iterator[str]:
    yield _spread(runs, "rate").with_range(".0f")
    yield spread(ratios([one.rate for one in runs], rates)).with_range(".2f")
    yield _spread(runs, "p50_ms").with_range(".1f")
    yield _spread(runs, "p99_ms").with_range(".1f")
    yield _spread(runs, "server_ms").with_range(".2f")
    yield _spread(runs, "client_ms").with_range(".2f")


def _spread(runs: Sequence[Load], name: str) -> Spread:
    return spread([getattr(one, name) for one in runs])


if __name__ == "__main__":
    main()
