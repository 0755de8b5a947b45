"""Training on photographs in one and in two processes: images/s, and the share of time waiting.

    python benchmarks/training/together.py [FOLDER] [--steps 10] [--rounds 3] [--processes 1 2]
        [--json FILE]

Beside Fleetnet runs timm's loop, put together from its parts (loops.py), as its
documentation recommends it (--amp --amp-dtype bfloat16 --channels-last) and, in several processes,
in DistributedDataParallel with its own distributed sampler; and once more with memory kept between
steps as a run of Fleetnet keeps it. All configurations take turns, each time in processes of their
own, which warm up and then time their steps. The batch is the same in all, shared among the
processes; so are the processors and the workers that load images. Time waiting is what a step waits
for its batch. The file is written anew after every turn, so a run that is ended early leaves what
it measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from loops import PHOTOS, Stopwatch, arrange, fleetnet_steps, timm_steps

from fleetnet.measuring import ratios, spread, turns
from fleetnet.training.launch import Launch
from fleetnet.training.launch_environment import Launched

WARM_UP = 3
COPIES = 4
"""Of each photograph: of 120 they are 15 batches, more than are timed."""
NETWORK = "mobilenetv2_100"
SIDES = ("fleetnet", "timm", "timm, memory kept")


class Measured(NamedTuple):
    """What one configuration did in one round."""

    images_per_s: float
    waiting: float
    """Share of the time."""


Found = dict[tuple[str, int], list[Measured]]
"""By what trains and in how many processes, a round after the other."""


def run_one(which: str, folder: Path, steps: int, workers: int, result: Path) -> None:
    """Measure one configuration in this process, which may be one of several."""
    from fleetnet.training.kept_memory import memory_kept
    from fleetnet.training.ranks import joined

    watch = Stopwatch()
    # As a run keeps it; timm's script leaves it to the C library.
    keeping = contextlib.nullcontext() if which == "timm" else memory_kept()
    with joined(Launched.found()) as ranks, keeping:
        make = fleetnet_steps if which == "fleetnet" else timm_steps
        step = make(folder, NETWORK, workers // ranks.size, watch, ranks)
        for _ in range(WARM_UP):
            step()
        watch.waited = 0.0
        started = time.perf_counter()
        images = sum(step() for _ in range(steps))
        seconds = time.perf_counter() - started
        if ranks.is_first:
            result.write_text(json.dumps([images / seconds, watch.waited / seconds]))


def measured(which: str, processes: int, place: Path, arguments: argparse.Namespace) -> Measured:
    """Measure one configuration in processes of its own."""
    result = place / "result.json"
    command = [sys.executable, "-W", "ignore", __file__, str(place / "images"), "--one", which]
    command += ["--steps", str(arguments.steps), "--workers", str(arguments.workers)]
    code = Launch([*command, "--result", str(result)], processes, restarts=0, say=print).run()
    if code:
        sys.exit(f"{which} in {processes} processes ended with exit code {code}")
    return Measured(*json.loads(result.read_text()))


def main() -> None:
    """Run all configurations in turns and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of all processes together")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    parser.add_argument("--one", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(
            arguments.one, arguments.folder, arguments.steps, arguments.workers, arguments.result
        )
        return
    if not any(arguments.folder.glob("*.JPEG")):
        sys.exit(f"no .JPEG photographs in {arguments.folder}: give a folder of some")
    with tempfile.TemporaryDirectory() as folder:
        arrange(arguments.folder, Path(folder) / "images", COPIES)
        keys = [(which, count) for count in arguments.processes for which in SIDES]
        found: Found = {key: [] for key in keys}
        for which, count in turns(keys, arguments.rounds):
            one = measured(which, count, Path(folder), arguments)
            found[which, count].append(one)
            print(f"{which} in {count}: {one.images_per_s:.1f} images/s", file=sys.stderr)
            if arguments.json:
                write(found, arguments.json)
    print(table(found))


def table(found: Found) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| | processes | images/s | ÷ timm's, same round | time waiting for images |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    speeds = {key: [one.images_per_s for one in rounds] for key, rounds in found.items()}
    for (which, count), rounds in found.items():
        cells = [
            spread(speeds[which, count]).with_range(".1f"),
            spread(ratios(speeds[which, count], speeds["timm", count])).with_range(".2f"),
            spread([one.waiting for one in rounds]).with_range(".0%"),
        ]
        lines.append(f"| {which} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(found: Found, file: Path) -> None:
    """Write the figures of every round so far."""
    rows = {
        f"{which} in {count}": [one._asdict() for one in rounds]
        for (which, count), rounds in found.items()
    }
    file.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
