"""Whether time grows with the number of images as a straight line, and what Ray costs.

    python benchmarks/cluster/scale.py [PHOTOS] [--images 1000 10000 100000] [--ray 2000]
        [--rounds 3] [--json FILE]

First `fleetnet predict` answers so many images of a folder. They are a thousand variations of
photographs, made small, which lie there under many names. The line through the two smaller numbers
says what the largest should take. Then prediction in one process and with Ray (two workers) answer
the photographs as they are, in turns. The networks are untrained, which take the time of trained
ones. Processor time is given beside time by the clock, because other programs take part of a busy
machine. The two smaller numbers of images take turns in every round; the largest runs once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from fleetnet.benchmark.untrained import untrained_bundles
from fleetnet.measuring import spread, turns

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
VARIATIONS = 1000
SIDE = 192
"""Longest side of a variation, in pixels."""
SMALL = ("MobileNetV2_x0_25", 128)
USUAL = ("MobileNetV2", 224)
PER_FOLDER = 1000
# Ray opens many ports: its processes get a network that has loopback and nothing else.
APART = ["unshare", "-rnpf", "--mount-proc", "--kill-child", "sh", "-c"]
BEGIN = 'ip link set lo up && "$@"'


class Taken(NamedTuple):
    """What a run took."""

    wall_s: float
    cpu_s: float


def vary(photos: list[Path], folder: Path) -> list[Path]:
    """Write variations of photographs: another part of the picture, mirrored or not."""
    rng = np.random.default_rng(5)
    folder.mkdir()
    made = []
    for number in range(VARIATIONS):
        with Image.open(photos[number % len(photos)]) as opened:
            picture = opened.convert("RGB")
        left, top, right, bottom = rng.uniform(0, 0.15, 4) * (*picture.size, *picture.size)
        box = (left, top, picture.width - right, picture.height - bottom)
        picture = picture.crop(tuple(map(int, box)))
        if rng.random() < 0.5:
            picture = ImageOps.mirror(picture)
        picture.thumbnail((SIDE, SIDE))
        made.append(folder / f"{number:04d}.jpg")
        picture.save(made[-1], quality=88)
    return made


def fill(folder: Path, images: list[Path], count: int) -> Path:
    """Put so many images into a folder, each file under many names."""
    for number in range(count):
        place = folder / f"{number // PER_FOLDER:04d}"
        if number % PER_FOLDER == 0:
            place.mkdir(parents=True)
        os.link(images[number % len(images)], place / f"{number:07d}.jpg")
    return folder


def run(command: list[str]) -> Taken:
    """Run a command and return what it and its children took."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    wall = time.perf_counter() - started
    return Taken(wall, usage.ru_utime + usage.ru_stime)


def predict(bundle: Path, images: Path, *more: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "fleetnet", "predict", str(bundle), str(images), *more]


def check_line(
    photos: list[Path], counts: list[int], rounds: int, scratch: Path
) -> dict[str, list[Taken]]:
    """Print what each number of images takes, and what the line through the first two says."""
    (bundle,) = untrained_bundles([SMALL[0]], SMALL[1])
    images = vary(photos, scratch / "variations")
    folders = {count: fill(scratch / str(count), images, count) for count in counts}
    taken: dict[int, list[Taken]] = {count: [] for count in counts}
    for count in [*turns(counts[:2], rounds), *counts[2:]]:
        taken[count].append(run(predict(bundle.path, folders[count], "--csv")))
        print(f"{count} {taken[count][-1]}", file=sys.stderr, flush=True)
    print("| images | seconds | processor seconds | images/s a core |")
    print("| ---: | ---: | ---: | ---: |")
    for count, runs in taken.items():
        print(f"| {count:,} | {cells(runs, count)} |")
    cpu = {count: spread([one.cpu_s for one in runs]).median for count, runs in taken.items()}
    if len(counts) > 2:
        first, second, *_, last = counts
        slope = (cpu[second] - cpu[first]) / (second - first)
        expected = cpu[first] + slope * (last - first)
        begin = cpu[first] - slope * first
        print(
            f"\n{1000 * slope:.3f} ms of a core for an image, and {begin:.1f} s to begin with: for "
            f"{last:,} images {expected:.1f} s, {expected / cpu[last] - 1:+.1%} beside what they "
            "took\n"
        )
    return {f"{count} images": runs for count, runs in taken.items()}


def cells(runs: list[Taken], images: int) -> str:
    """Return cells of a table: the seconds, those of processors, and images a second of one."""
    return " | ".join(
        [
            spread([one.wall_s for one in runs]).with_range(".1f"),
            spread([one.cpu_s for one in runs]).with_range(".1f"),
            spread([images / one.cpu_s for one in runs]).with_range(".0f"),
        ]
    )


class RayTaken(NamedTuple):
    """What a run with Ray took: until the first part was begun, all were whole, and it ended."""

    begin: Taken
    answered: Taken
    end: Taken

    @property
    def answering(self) -> Taken:
        """What it took between the first part and the last."""
        return Taken(
            self.answered.wall_s - self.begin.wall_s, self.answered.cpu_s - self.begin.cpu_s
        )


def ray_turn(bundle: Path, folder: Path, output: Path) -> RayTaken:
    """Run with Ray."""
    command = predict(bundle, folder, "--ray", "--output", str(output), "--workers", "2",
                      "--per-part", "100")  # fmt: skip
    job, ticks = output / "_job", dict[str, int]()
    begin = answered = None
    started = time.perf_counter()
    with subprocess.Popen(
        [*APART, BEGIN, "sh", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            ticks |= processor_ticks(process.pid)
            cpu = sum(ticks.values()) / os.sysconf("SC_CLK_TCK")
            now = Taken(time.perf_counter() - started, cpu)
            if begin is None and any((job / "tries").glob("*")):
                begin = now
            parts = len(list((job / "images").glob("*.json")))
            if begin and not answered and len(list((job / "done").glob("*.json"))) == parts:
                answered = now
            time.sleep(0.1)
    if process.returncode or begin is None or answered is None:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return RayTaken(begin, answered, now)


def processor_ticks(first: int) -> dict[str, int]:
    """Return what each process in the network of one has taken so far."""
    found = {}
    with contextlib.suppress(OSError):
        network = Path(f"/proc/{first}/ns/net").readlink()
        if network == Path("/proc/self/ns/net").readlink():
            return {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (entry / "ns" / "net").readlink() == network:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    found[entry.name] = int(fields[11]) + int(fields[12])
    return found


def compare(photos: list[Path], count: int, rounds: int, scratch: Path) -> dict[str, list[Taken]]:
    """Print what prediction takes in one process and with Ray."""
    (bundle,) = untrained_bundles([USUAL[0]], USUAL[1])
    copies = scratch / "photos"
    copies.mkdir()
    for photo in photos:
        (copies / photo.name).write_bytes(photo.read_bytes())
    folder = fill(scratch / "compared", sorted(copies.iterdir()), count)
    plain: list[Taken] = []
    ray: list[RayTaken] = []
    for which in turns(["plain", "ray"], rounds):
        if which == "plain":
            plain.append(run(predict(bundle.path, folder, "--csv")))
            print(plain[-1], file=sys.stderr, flush=True)
        else:
            ray.append(ray_turn(bundle.path, folder, scratch / f"out{len(ray)}"))
            print(ray[-1], file=sys.stderr, flush=True)
    rows = {
        "one process, two threads": plain,
        "`--ray --workers 2`": [one.end for one in ray],
        "… until the first part": [one.begin for one in ray],
        "… from there to the last": [one.answering for one in ray],
    }
    print(f"| {count:,} photographs | seconds | processor seconds | images/s a core |")
    print("| --- | ---: | ---: | ---: |")
    for name, taken in rows.items():
        print(f"| {name} | {cells(taken, count)} |")
    print(f"\n{describe(rounds)}\n")
    return rows


def describe(rounds: int) -> str:
    """Return what was measured on what."""
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{machine}, {rounds} rounds in turns: median (lowest–highest)"


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--images", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--ray", type=int, default=2000, help="photographs; 0 leaves Ray out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*.JPEG"))
    if not photos:
        sys.exit(f"no photographs in {arguments.photos}")
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, list[Taken]] = {}
        if arguments.ray:
            found |= compare(photos, arguments.ray, arguments.rounds, Path(scratch))
        if arguments.images:
            found |= check_line(photos, arguments.images, arguments.rounds, Path(scratch))
    if arguments.json:
        rows = {name: [one._asdict() for one in runs] for name, runs in found.items()}
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
