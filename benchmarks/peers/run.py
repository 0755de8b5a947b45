"""Measure other projects and ours side by side.

    python -m benchmarks.peers.run [--quick] [--only network …] [--output FOLDER]

``make bench-peers`` makes the environments first.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.peers.comparison import Place
from benchmarks.peers.contenders import (
    ENVIRONMENTS,
    Contender,
    fewer_bits,
    file_roads,
    networks,
    trained_roads,
)
from benchmarks.peers.files import compare_files, compare_starts
from benchmarks.peers.loader import compare_loaders
from benchmarks.peers.network import compare_networks
from benchmarks.peers.prepare import prepare
from benchmarks.peers.process import PeerError
from benchmarks.peers.report import Report, today
from benchmarks.peers.sizes import installed_sizes
from fleetnet.image_files import walk_images
from fleetnet.inference.comparison import machine

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
PARTS = ("network", "files", "bits", "start", "size", "loader")


class Effort(NamedTuple):
    """How often everything is repeated."""

    threads: tuple[int, ...]
    network_rounds: int
    runs: int
    file_rounds: int
    photos: int | None
    starts: int
    loader: tuple[int, int, tuple[int, ...]]
    """Rounds, times that each photograph comes, numbers of workers."""
    omitted: str = ""
    """A pattern of the names that are not worth the time."""


FULL = Effort((1, 2), 25, 10, 7, None, 5, (5, 4, (0, 2)))
# Compiling and starting take most of the time.
QUICK = Effort((1,), 5, 5, 2, 24, 1, (1, 1, (0,)), r"compiled$|^ReXNet_1_0, ")


def main() -> None:
    """Parse, measure, print and write."""
    options = _parse()
    console = Console()
    cores = options.cores or sorted(os.sched_getaffinity(0))[-2:]
    place = Place(
        _pythons(options.environment),
        options.work.resolve(),
        cores,
        lambda line: console.print(line, style="dim", highlight=False, soft_wrap=True),
    )
    photos = [str(path) for path in walk_images(options.photos)] if options.photos.is_dir() else []
    if not photos:
        sys.exit(f"error: no photographs in {options.photos}: give a folder with --photos")
    effort = QUICK if options.quick else FULL
    try:
        report = measure(
            place, photos, options.photos, options.checkpoints, effort, options.only, console
        )
    except PeerError as error:
        sys.exit(f"error: our own networks cannot be made or run: {error}")
    for table in report.tables():
        console.print(table.rich(console.width))
    if report.loader:
        console.print(report.loader, highlight=False, markup=False)
    default = ROOT / "build" / "peers-quick" if options.quick else ROOT / "docs" / "benchmark"
    for path in report.write(options.output or default):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.run", description="Measure other projects and ours."
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: whether everything works")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of photographs")
    parser.add_argument("--output", type=Path, help="folder for the report")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="networks that were trained on the ELPV data, to compare in fewer bits",
    )
    parser.add_argument(
        "--cores", type=int, nargs="+", help="processors to compute on [the last 2]"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "peers", help="for models")
    parser.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help=f"another interpreter for one of {', '.join(ENVIRONMENTS)}",
    )
    options = parser.parse_args()
    usable = os.sched_getaffinity(0)
    if options.cores and not (set(options.cores) <= usable):
        parser.error(f"--cores: this process may use {', '.join(map(str, sorted(usable)))}")
    return options


def _pythons(given: list[str]) -> dict[str, Path]:
    # Not resolved: an environment's interpreter is a link, by whose place it knows its packages.
    pythons = {name: ROOT / folder / "bin" / "python" for name, folder in ENVIRONMENTS.items()}
    pythons["ours"] = Path(sys.executable)
    for entry in given:
        name, _, path = entry.partition("=")
        if name not in pythons or not path:
            sys.exit(
                f"error: --environment {entry}: write NAME=PYTHON, NAME in {', '.join(pythons)}"
            )
        pythons[name] = Path(path).absolute()
    return pythons


def measure(
    place: Place,
    photos: list[str],
    folder: Path,
    checkpoints: Sequence[Path],
    effort: Effort,
    parts: Sequence[str],
    console: Console,
) -> Report:
    """Make what is needed and compare everything that was asked for.

    Raises:
        PeerError: our own networks cannot be made.
    """
    trained = prepare(place, folder, checkpoints)
    cores = len(place.cores)
    photos = photos[: effort.photos]
    report = Report(describe(place, photos, effort), trained=trained)
    roads = chosen(file_roads(cores), effort)
    if "network" in parts:
        for threads in (count for count in effort.threads if count <= cores):
            members = chosen(networks(threads), effort)
            with ticking(console, f"network, {threads}", members, effort.network_rounds) as tick:
                report.networks[threads] = compare_networks(
                    members, place, effort.network_rounds, effort.runs, tick
                )
    if "files" in parts:
        with ticking(console, "files", roads, effort.file_rounds) as tick:
            report.files = compare_files(roads, place, photos, effort.file_rounds, tick)
    if "bits" in parts and trained:
        members = chosen(fewer_bits(trained), effort)
        with ticking(console, "fewer bits", members, effort.network_rounds) as tick:
            report.bits = compare_networks(members, place, effort.network_rounds, effort.runs, tick)
        members = trained_roads(trained, cores)
        with ticking(console, "files, fewer bits", members, effort.file_rounds) as tick:
            report.trained_files = compare_files(members, place, photos, effort.file_rounds, tick)
    if "start" in parts:
        members = [one for one in roads if one.threads == cores and "pipelined" not in one.setting]
        with ticking(console, "starts", members, effort.starts) as tick:
            report.starts = compare_starts(members, place, photos, effort.starts, tick)
    if "size" in parts:
        report.sizes, report.unsized = installed_sizes(place)
    if "loader" in parts:
        place.say("comparing training loaders")
        try:
            report.loader = compare_loaders(folder, *effort.loader)
        except PeerError as error:
            report.loader = f"Left out: {error}"
    return report


def chosen(members: Sequence[Contender], effort: Effort) -> list[Contender]:
    """Return those who are worth the time."""
    if not effort.omitted:
        return list(members)
    return [one for one in members if not re.search(effort.omitted, one.name)]


@contextlib.contextmanager
def ticking(
    console: Console, title: str, members: Sequence[Contender], rounds: int
) -> Iterator[Callable[[], None]]:
    """Show how far a comparison is, and give what is to be called after each turn."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(title, total=len(members) * rounds)
        yield lambda: progress.advance(task)


def describe(place: Place, photos: Sequence[str], effort: Effort) -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "date": today(),
        "machine": machine(),
        "cores": f"{len(place.cores)} of {os.cpu_count()}",
        "load at the start": f"{os.getloadavg()[0]:.1f} (the figures count where it is near 0)",
        "Python": platform.python_version(),
        "photographs": str(len(photos)),
        "rounds": f"{effort.network_rounds} × {effort.runs} runs of each network, "
        f"{effort.file_rounds} passes over the photographs, {effort.starts} starts"
        + (", and some omitted: a quick run" if effort.omitted else ""),
    }


if __name__ == "__main__":
    main()
