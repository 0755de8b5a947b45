"""The bundle in this process: what a server can at most reach, since it adds only to this.

python inprocess.py BUNDLE FOLDER THREADS [ENGINE]

For every line on standard input, a number of seconds, it classifies images for so long, and writes
one line of JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fleetnet import Classifier


def main() -> None:
    """Answer until there is no more to ask."""
    bundle, folder, threads, *engine = sys.argv[1:]
    files = sorted(Path(folder).iterdir())
    with Classifier(
        bundle,
        engine=engine[0] if engine else "openvino",
        threads=int(threads),
        mode="throughput",
        precision="fp32",
    ) as classifier:
        print("ready", flush=True)
        for line in sys.stdin:
            end = time.perf_counter() + float(line)

            def images(end: float = end) -> Iterator[Path]:
                return itertools.takewhile(
                    lambda _: time.perf_counter() < end, itertools.cycle(files)
                )

            began = time.perf_counter()
            count = sum(1 for _ in classifier.predict(images()))
            print(json.dumps({"images": count, "wall_s": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
