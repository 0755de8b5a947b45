"""A client that keeps a server busy: a process of its own, which costs as little as it can.

python load.py ADDRESS FOLDER --concurrency 8 --seconds 3 [--rate 500]

It writes one line of JSON: how many requests were answered and how, and after how long. Requests
are made before the clock starts, so that the client's own work is the sockets'. With a rate, they
are sent when they are due, whether earlier ones are answered or not, as long as a connection is
free; time runs from then on, and what is due and cannot be sent is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import json
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))

from protocols import PROTOCOLS, Connection

PATIENCE = 20.0
BEST = re.compile(rb"""["']index["']: ?(\d+)|:(\d+):""")
"""The first class that an answer names: in JSON, or in the classification of Triton's clients."""


class Counts:
    """What came of the requests.

    Attributes:
        seconds: that each answered one took.
        outcomes: how many were answered, shed, or anything else.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.outcomes: collections.Counter[str] = collections.Counter()

    def add(self, outcome: str, seconds: float) -> None:
        """Count one."""
        self.outcomes[outcome] += 1
        if outcome == "answered":
            self.seconds.append(seconds)


async def closed(
    connections: Sequence[Connection], requests: Iterator[bytes], seconds: float, counts: Counts
) -> None:
    """Ask the next as soon as the one before is answered, on every connection."""
    end = time.perf_counter() + seconds

    async def one(connection: Connection) -> None:
        while (began := time.perf_counter()) < end:
            outcome = await connection.ask(next(requests))
            counts.add(outcome, time.perf_counter() - began)

    await asyncio.gather(*map(one, connections))


async def opened(
    connections: Sequence[Connection],
    requests: Iterator[bytes],
    seconds: float,
    rate: float,
    counts: Counts,
) -> None:
    """Ask so often a second, whatever is answered; what finds no free connection waits for one."""
    due: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def one(connection: Connection) -> None:
        while (request := await due.get()) is not None:
            sent = time.perf_counter()
            outcome = await connection.ask(request)
            counts.add(outcome, time.perf_counter() - sent)

    tasks = [asyncio.create_task(one(connection)) for connection in connections]
    began = time.perf_counter()
    for number in range(round(rate * seconds)):
        when = began + number / rate
        if (early := when - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        due.put_nowait(next(requests))
    counts.outcomes["never sent"] = due.qsize()
    while not due.empty():
        due.get_nowait()
    for _ in tasks:
        due.put_nowait(None)
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Ask, and return what came of it."""
    address = urlsplit(options.address)
    protocol = PROTOCOLS[address.scheme]
    images = [path.read_bytes() for path in sorted(options.folder.iterdir())]
    if options.classes:
        return {"classes": await classes(protocol(address), protocol, address, images)}
    requests = itertools.cycle([protocol.request(address, image) for image in images])
    connections = [protocol(address) for _ in range(options.concurrency)]
    await asyncio.gather(*(connection.open() for connection in connections))
    counts = Counts()
    try:
        await closed(connections, requests, options.warm_up, Counts())
        began, used = time.perf_counter(), processor_seconds()
        print("began", flush=True)
        if options.rate:
            await opened(connections, requests, options.seconds, options.rate, counts)
        else:
            await closed(connections, requests, options.seconds, counts)
        wall, busy = time.perf_counter() - began, processor_seconds() - used
        print("ended", flush=True)
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    return {
        "wall_s": wall,
        "client_s": busy,
        "outcomes": dict(counts.outcomes),
        "seconds": counts.seconds,
    }


async def classes(
    connection: Connection, protocol: type[Connection], address: SplitResult, images: list[bytes]
) -> list[int | None]:
    """Return the best class of every image, by which servers are known to compute the same."""
    await connection.open()
    found: list[int | None] = []
    for image in images:
        outcome = await connection.ask(protocol.request(address, image))
        best = BEST.search(connection.body) if outcome == "answered" else None
        found.append(int(best[1] or best[2]) if best else None)
    await connection.close()
    return found


def processor_seconds() -> float:
    """Return what this process has computed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Parse, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", help="such as http://127.0.0.1:8000/classify or grpc://…/MODEL")
    parser.add_argument("folder", type=Path, help="of images, all of which are sent in turn")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm-up", type=float, default=0.5)
    parser.add_argument("--classes", action="store_true", help="ask once, and print what they are")
    parser.add_argument("--rate", type=float, help="requests a second; else as fast as answered")
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
