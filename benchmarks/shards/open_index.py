"""Setting up a run on very many samples in shards, from their index: seconds and memory.

    python -m benchmarks.shards.open_index [--samples 14000000] [--rounds 3] [--json FILE]

Makes an index of so many samples without their images. In a process of its own, opens it, finds the
data's fingerprint, splits it and draws the first batch; says how long each took by the clock and
by the processor, and how much memory the process needed beyond what importing takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.rounds import report
from fleetnet.data.sampling import Shuffled
from fleetnet.data.sources import fingerprint
from fleetnet.data.sources.tar_columns import TarColumns, load
from fleetnet.data.sources.tar_source import TarSource
from fleetnet.data.sources.webdataset import LocalShards
from fleetnet.data.splits import check_classes, split

PER_SHARD = 1000
CLASSES = 21_841
SIZE = 110_000


def made(samples: int) -> TarColumns:
    """Return what an index of so many samples has in it."""
    shards = -(-samples // PER_SHARD)
    name = b"train-000000.tar/n01440764/n01440764_10026.jpg"
    number = np.arange(samples)
    return TarColumns(
        files=tuple(f"train-{shard:06d}.tar" for shard in range(shards)),
        bytes=(PER_SHARD * (SIZE + 2048),) * shards,
        classes=tuple(f"n{label:08d}" for label in range(CLASSES)),
        multi_label=False,
        names=np.tile(np.frombuffer(name, np.uint8), samples),
        name_ends=(number + 1) * len(name),
        labels=(number % CLASSES).astype(np.int32),
        label_ends=number + 1,
        shards=number // PER_SHARD,
        offsets=number % PER_SHARD * (SIZE + 2048) + 512,
        sizes=np.full(samples, SIZE, np.int64),
        digests=np.random.default_rng(0).integers(0, 256, (samples, 16), np.uint8),
    )


def anonymous_mib() -> float:
    """Return the memory of this process that is not a mapped file's, which the system can drop."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


class Peak:
    """Looks every few milliseconds how much memory this process has, until it is told to stop."""

    def __init__(self) -> None:
        self.mib = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self.mib = max(self.mib, anonymous_mib())

    def end(self) -> float:
        """Stop, and return the most."""
        self._ended.set()
        self._thread.join()
        return self.mib


def measure(path: Path) -> None:
    """Open an index, set up a run and print what that took."""
    before = anonymous_mib()
    found: dict[str, float] = {}
    peak = Peak()
    started = [time.perf_counter(), time.process_time()]

    def lap(name: str) -> None:
        now = [time.perf_counter(), time.process_time()]
        found[f"{name}, s"] = now[0] - started[0]
        found[f"{name}, processor s"] = now[1] - started[1]
        started[:] = now

    columns = load(path)
    splits = np.zeros(len(columns.files), np.int8)
    reader = LocalShards([Path(name) for name in columns.files])
    source = TarSource(columns, splits, reader, description="made", spec={})
    lap("open")
    found["memory once open, MiB"] = anonymous_mib() - before
    check_classes(source)
    fingerprint(source)
    lap("fingerprint")
    parts = split(source)
    lap("split")
    order = Shuffled(source, parts.train, batch_size=256, seed=0)
    next(order.draws(1))
    lap("first batch")
    found["memory at most, MiB"] = peak.end() - before
    print(json.dumps(found))


def main() -> None:
    """Make an index and measure opening it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=14_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.index is not None:
        measure(chosen.index)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.npz"
        made(chosen.samples).save(path)
        size = path.stat().st_size / 2**20
        command = [sys.executable, "-m", "benchmarks.shards.open_index", "--index", str(path)]
        rounds = [
            json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            for _ in range(chosen.rounds)
        ]
    print(
        f"{chosen.samples:,} samples, an index of {size:.0f} MiB, {os.cpu_count()} cores, "
        f"{chosen.rounds} rounds: median (lowest–highest)\n"
    )
    report(rounds, ("", ""), ".1f", chosen.json)


if __name__ == "__main__":
    main()
