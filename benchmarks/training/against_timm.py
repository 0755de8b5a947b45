"""Training on photographs, from files to weights: images/s of timm's parts and of Fleetnet.

    python benchmarks/training/against_timm.py [FOLDER] [--steps 16] [--rounds 3] [--workers 2]

timm's loop (loops.py) runs as its train.py does when nothing is said (fp32, PyTorch's memory
format), and as its documentation recommends (--amp --amp-dtype bfloat16 --channels-last). Each
configuration gets a process of its own in each interleaved round, which warms up and then times its
steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from loops import PHOTOS, Stopwatch, arrange, fleetnet_steps, timm_steps

from fleetnet.measuring import elapsed, ratios, spread, turns

NETWORKS = {"mobilenetv2_100": "mobilenetv2_100", "rexnet_100": "ReXNet_1_0"}
"""timm's name and ours."""
WARM_UP = 5
CONFIGURATIONS = ("timm", "timm, amp and channels last", "fleetnet")


def run_one(configuration: str, network: str, folder: Path, steps: int, workers: int) -> float:
    """Return images/s of one configuration, in this process."""
    watch = Stopwatch()
    if configuration == "fleetnet":
        step = fleetnet_steps(folder, NETWORKS[network], workers, watch)
    else:
        step = timm_steps(folder, network, workers, watch, tuned=configuration != "timm")
    for _ in range(WARM_UP):
        step()  # the workers have to be up too
    images, time = elapsed(lambda: sum(step() for _ in range(steps)))
    return images / time.seconds


def main() -> None:
    """Run all configurations in turns and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--network", action="append", choices=list(NETWORKS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        speed = run_one(*arguments.one, arguments.folder, arguments.steps, arguments.workers)
        print(json.dumps(speed))
        return
    if not any(arguments.folder.glob("*.JPEG")):
        sys.exit(f"no .JPEG photographs in {arguments.folder}: give a folder of some")
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        arrange(arguments.folder, Path(place))
        print("| network | configuration | images/s | times |\n| --- | --- | ---: | ---: |")
        for network in arguments.network or NETWORKS:
            speeds: dict[str, list[float]] = {key: [] for key in CONFIGURATIONS}
            for key in turns(CONFIGURATIONS, arguments.rounds):
                speeds[key].append(in_a_process(key, network, place, arguments))
            for key, values in speeds.items():
                times = spread(ratios(values, speeds["timm"])).median
                speed = spread(values).with_range(".1f")
                print(f"| {network} | {key} | {speed} | {times:.2f} |", flush=True)


def in_a_process(key: str, network: str, place: str, arguments: argparse.Namespace) -> float:
    """Return images/s of one configuration in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, place, "--one", key, network]
    command += ["--steps", str(arguments.steps), "--workers", str(arguments.workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{key}: {done.stderr.strip().splitlines()[-1]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    main()
