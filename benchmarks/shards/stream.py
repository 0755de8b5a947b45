"""Reading images from shards, here and over HTTP through the cache: images and megabytes a second.

    python benchmarks/shards/stream.py [--shards 40] [--rounds 3] [--json FILE]

Makes shards of random bytes, so that reading alone is measured, and serves them on this machine.
Each way reads all images once: in order, as an evaluation does, and in the order of an epoch. Over
HTTP first with an empty cache, then with what that left in it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from tarfile import TarInfo
from tarfile import open as open_tar
from tempfile import TemporaryDirectory
from threading import Thread
from typing import NamedTuple

import numpy as np

from fleetnet.data.ahead import announced
from fleetnet.data.reading import for_each
from fleetnet.data.sampling import Shuffled
from fleetnet.data.sources import Source, open_source
from fleetnet.measuring import spread, turns
from fleetnet.threads import map_in_threads

SIZE = 110_000
"""Bytes of an image, as ImageNet's have on average."""
PER_SHARD = 200
THREADS = 4


class Measured(NamedTuple):
    """What opening data and reading all of it took."""

    opening_s: float
    images_per_s: float
    megabytes_per_s: float
    all_s: float


FORMS = (".2f", ".0f", ".0f", ".2f")
"""Of the figures, in the table."""
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class FilesWithRanges(BaseHTTPRequestHandler):
    """Serves the files of a folder, or parts of them."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, folder: Path) -> None:
        self._folder = folder
        super().__init__(*args)  # type: ignore[arg-type] # socketserver's own

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer how long a file is."""
        self._answer(with_content=False)

    def do_GET(self) -> None:
        """Answer with a file or a part of it."""
        self._answer(with_content=True)

    def _answer(self, *, with_content: bool) -> None:
        path = self._folder / Path(self.path).name
        if not path.is_file():
            self.send_error(404)
            return
        asked = _RANGE.fullmatch(self.headers.get("range", ""))
        size = path.stat().st_size
        first, last = (int(asked[1]), min(int(asked[2]), size - 1)) if asked else (0, size - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_content:
            with path.open("rb") as file:
                os.sendfile(self.wfile.fileno(), file.fileno(), first, last - first + 1)


def make(folder: Path, shards: int) -> None:
    """Write shards of random bytes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for shard in range(shards):
        with open_tar(folder / f"{shard:04d}.tar", "w") as tar:
            for number in range(PER_SHARD):
                label = b"%d" % (number % 10)
                for name, content in (
                    (f"{number:04d}.jpg", rng.bytes(SIZE)),
                    (f"{number:04d}.cls", label),
                ):
                    info = TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, BytesIO(content))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback while the block runs, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(FilesWithRanges, folder=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def in_order(source: Source) -> int:
    """Read all images in order, and return how many bytes they have."""
    return sum(
        size
        for _, size in for_each(
            source, lambda n: len(source.read(n)), np.arange(len(source.samples))
        )
    )


def shuffled(source: Source) -> int:
    """Read all images in the order of an epoch, and return how many bytes they have."""
    order = announced(
        source, Shuffled(source, np.arange(len(source.samples)), batch_size=64, seed=0, buffer=1000)
    )
    numbers = (int(number) for draw in order.draws(1) for number in draw.indices)
    return sum(map_in_threads(lambda n: len(source.read(n)), numbers, THREADS))


def main() -> None:
    """Measure each way in turns and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    chosen = parser.parse_args()
    found: dict[str, list[Measured]] = {}
    with TemporaryDirectory() as place:
        folder = Path(place) / "shards"
        make(folder, chosen.shards)
        with served(folder) as address:
            behind = f"{address}/{{0000..{chosen.shards - 1:04d}}}.tar"
            for how in turns([in_order, shuffled], chosen.rounds):
                order = how.__name__.replace("_", " ")
                os.environ["FLEETNET_CACHE"] = f"{place}/cache"
                for title, where in (
                    (f"here, {order}", str(folder)),
                    (f"HTTP, {order}, empty cache", behind),
                    (f"HTTP, {order}, from the cache", behind),
                ):
                    found.setdefault(title, []).append(measured(where, how))
                shutil.rmtree(f"{place}/cache")
    print(
        f"{chosen.shards} shards of {PER_SHARD} images with {SIZE:,} bytes, {os.cpu_count()} "
        f"cores, {chosen.rounds} rounds: median (lowest–highest)\n"
    )
    print("| | opening, s | images/s | MB/s | all of it, s |\n| --- | ---: | ---: | ---: | ---: |")
    for title, rounds in sorted(found.items()):
        cells = [
            spread(values).with_range(form)
            for values, form in zip(zip(*rounds, strict=True), FORMS, strict=True)
        ]
        print(f"| {title} | {' | '.join(cells)} |")
    if chosen.json:
        rows = {title: [one._asdict() for one in rounds] for title, rounds in found.items()}
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


def measured(where: str, how: Callable[[Source], int]) -> Measured:
    """Open data and read all of it."""
    start = time.perf_counter()
    source = open_source(where)
    opened = time.perf_counter()
    size = how(source)
    ended = time.perf_counter()
    reading = ended - opened
    return Measured(
        opened - start, len(source.samples) / reading, size / reading / 1e6, ended - start
    )


if __name__ == "__main__":
    main()
