"""Thousands of requests of all kinds: what they take of memory, they give back.

``make serve-endurance`` does the same with a hundred thousand.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import struct
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from samples import PHOTOS
from serving.askers import KINDS, PROTOCOLS, GaveNoneError, Place, Process, Rest, linux, running
from serving.brpc_client import element, inference
from serving.brpc_client import request as frame_of
from serving.proxy import nginx
from serving.raw import place_of

pytestmark = pytest.mark.slow
REQUESTS = int(os.environ.get("FLEETNET_REQUESTS", "6000"))
WARM = max(REQUESTS // 10, 2500)
LEAK = 1000
"""Bytes a request, of which less than half may stay."""


def leave(place: Place, protocol: str, picture: bytes) -> None:
    """Ask, and go away without waiting for the answer; every other time in the middle."""
    if protocol == "rest":
        head = f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n"
        sent = head.encode() + b"\r\n" + picture
    else:
        sent = frame_of("ModelInfer", inference("", raw=[element(picture)]))
    with socket.create_connection(place, 60) as connection:
        connection.sendall(sent if time.monotonic_ns() % 2 else sent[: len(sent) // 2])
        # No farewell, as of a client that crashed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Load:
    """Clients of all protocols that share out a number of requests."""

    def __init__(self, server: Process, picture: bytes) -> None:
        self._server = server
        self._picture = picture
        self._lock = threading.Lock()
        self._left = 0
        self.seen: Counter[str] = Counter()

    def run(self, requests: int) -> None:
        """Ask so often, every tenth time what cannot be answered."""
        self._left = requests
        threads = [threading.Thread(target=self._client, args=(name,)) for name in PROTOCOLS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self._left == 0

    def _client(self, protocol: str) -> None:
        place = self._server.places[protocol]
        asker = KINDS[protocol](place)
        while (number := self._next()) is not None:
            kind = number % 40
            try:
                if kind == 7 and protocol != "grpc":
                    leave(place, protocol, self._picture)
                    told = "left"
                elif kind in (17, 27):
                    asker.ask(b"no image" * 100)
                    told = "a wrong answer"
                elif kind == 37:
                    asker.ask(self._picture, timeout_ms=0)
                    told = "in time"
                else:
                    asker.ask(self._picture)
                    told = "answered"
            except GaveNoneError:
                told = "refused"
            with self._lock:
                self.seen[told] += 1
        asker.close()

    def _next(self) -> int | None:
        with self._lock:
            if self._left == 0:
                return None
            self._left -= 1
            return self._left


@linux
def test_memory_stays_as_it_is(network: Path, picture: bytes, tmp_path: Path) -> None:
    with running(tmp_path, f"net={network}") as server:
        load = Load(server, picture)
        load.run(WARM)
        before, begun = server.resident, time.monotonic()
        load.run(REQUESTS)
        took = time.monotonic() - begun
        grown = server.resident - before
        print(  # noqa: T201 - make serve-endurance shows it
            f"\n{REQUESTS:,} requests in {took:.0f} s: {before / 2**20:.1f} MiB after {WARM:,}, "
            f"{(before + grown) / 2**20:.1f} MiB at the end; {dict(load.seen)}"
        )
        assert grown < REQUESTS * LEAK / 2
    assert load.seen["a wrong answer"] == 0
    assert load.seen["refused"] > REQUESTS // 30
    assert load.seen["left"] > REQUESTS // 100
    assert load.seen["answered"] > REQUESTS * 0.8
    with contextlib.suppress(OSError):
        assert "traceback" not in server.log.read_text("utf-8")


def rate(place: Place, picture: bytes, requests: int) -> float:
    """Return how many requests a second four clients get answered."""

    def client() -> None:
        asker = Rest(place)
        with contextlib.closing(asker):
            for _ in range(requests // 4):
                assert asker.ask(picture).label

    threads = [threading.Thread(target=client) for _ in range(4)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return requests / (time.monotonic() - begun)


@linux
def test_a_proxy_in_front_answers_all(network: Path, picture: bytes, tmp_path: Path) -> None:
    photo = next(iter(sorted(PHOTOS.glob("*.JPEG"))), None)
    data = picture if photo is None else photo.read_bytes()
    with running(tmp_path, f"net={network}") as server:
        direct = server.places["rest"]
        with nginx(tmp_path, f"http://{direct[0]}:{direct[1]}", "on") as front:
            places = {"direct": direct, "nginx": place_of(front)}
            rates: dict[str, list[float]] = {name: [] for name in places}
            for _ in range(5):
                for name, place in places.items():
                    rates[name].append(rate(place, data, max(REQUESTS // 200, 20)))
    print("\nrequests/s:", {name: round(statistics.median(all_)) for name, all_ in rates.items()})  # noqa: T201
