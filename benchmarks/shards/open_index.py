"""Opening shards of very many samples by their index: seconds and memory.

Makes an index of so many samples without their images, opens it in a process of its own and says
how long that took and how much memory the process needed beyond what importing takes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fleetnet.data.sources.tar_columns import TarColumns, load

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


def measure(path: Path) -> None:
    """Open an index and print what that took."""
    before = anonymous_mib()
    start = time.perf_counter()
    columns = load(path)
    table = columns.table(np.ones(len(columns.files), np.int8))
    seconds = time.perf_counter() - start
    names = [table[index].name for index in range(0, len(table), max(len(table) // 1000, 1))]
    print(
        json.dumps(
            {
                "samples": len(table),
                "seconds": round(seconds, 2),
                "memory_mib": round(anonymous_mib() - before, 1),
                "peak_with_mapped_mib": round(
                    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                ),
                "index_mib": round(path.stat().st_size / 2**20),
                "read": len(names),
            }
        )
    )


def main() -> None:
    """Make an index and measure opening it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=14_000_000)
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.index is not None:
        measure(chosen.index)
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.npz"
        made(chosen.samples).save(path)
        subprocess.run([sys.executable, __file__, "--index", str(path)], check=True)


if __name__ == "__main__":
    main()
