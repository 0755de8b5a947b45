"""Versions that come and go, and a server that is killed, while clients of every protocol ask."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetnet.bundle import Bundle
from fleetnet.bundle.artifacts import MANIFEST
from serving.askers import (
    KINDS,
    LONG,
    PROTOCOLS,
    Answer,
    Asker,
    GaveNoneError,
    Process,
    free_ports,
    post,
    running,
    started,
)

pytestmark = pytest.mark.slow
SWAPS = int(os.environ.get("FLEETNET_SWAPS", "12"))
KILLS = int(os.environ.get("FLEETNET_KILLS", "2"))


class Models:
    """A folder of two versions that call their classes otherwise, and their hashes."""

    def __init__(self, folder: Path, versions: Path) -> None:
        self.folder = folder
        shutil.copytree(versions, folder)
        manifest = folder / "shapes" / "2" / MANIFEST
        values = json.loads(manifest.read_text("utf-8"))
        values["classes"] = [name.upper() for name in values["classes"]]
        manifest.write_text(json.dumps(values), "utf-8")
        self.hashes = {
            Bundle.load(folder / "shapes" / version).hash: version for version in ("1", "2")
        }

    def require_right(self, answer: Answer) -> None:
        """Require that an answer is of the bundle and the version that it names."""
        assert self.hashes[answer.bundle] == answer.version
        assert answer.label.isupper() == (answer.version == "2")


class Clients:
    """Two clients of each protocol, that ask until they are told to stop.

    Attributes:
        answers: how many there were by protocol and version.
        lost: reasons why there was none.
    """

    def __init__(self, server: Process, models: Models, picture: bytes, *, again: bool) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.lost: Counter[str] = Counter()
        self.wrong: list[BaseException] = []
        self._server = server
        self._models = models
        self._picture = picture
        self._again = again
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(name,)) for name in PROTOCOLS for _ in range(2)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, protocol: str) -> None:
        def connected() -> Asker:
            return KINDS[protocol](self._server.places[protocol])

        asker = connected()
        try:
            while not self._stop.is_set():
                try:
                    answer = asker.ask(self._picture)
                    self._models.require_right(answer)
                    with self._lock:
                        self.answers[protocol, answer.version] += 1
                except (GaveNoneError, OSError, EOFError, ValueError) as error:
                    with self._lock:
                        self.lost[protocol if self._again else f"{protocol}: {error!r}"] += 1
                    if self._again:
                        asker.close()
                        asker = connected()
                        time.sleep(0.02)
        except BaseException as error:
            self.wrong.append(error)
            raise
        finally:
            asker.close()

    def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + LONG
        while not what():
            assert time.monotonic() < end, (self.answers, self.lost)
            assert not self.wrong
            time.sleep(0.005)

    def until_all_were_answered(self, version: str | None = None) -> None:
        """Wait until clients of every protocol got an answer from now on, of a version."""
        was = Counter(self.answers)
        versions = ("1", "2") if version is None else (version,)
        self.until(
            lambda: all(
                any(self.answers[name, one] > was[name, one] for one in versions)
                for name in PROTOCOLS
            )
        )


def test_swaps_lose_nothing_and_every_answer_is_of_what_it_names(
    versions: Path, picture: bytes, tmp_path: Path
) -> None:
    models = Models(tmp_path / "models", versions)
    with running(tmp_path, "--folder", str(models.folder)) as server:
        place, path = server.places["rest"], "/v2/repository/models/shapes/"
        post(place, path + "unload", {"parameters": {"version": "2"}})
        with Clients(server, models, picture, again=False) as clients:
            for number in range(SWAPS):
                new, old = ("2", "1") if number % 2 == 0 else ("1", "2")
                clients.until_all_were_answered(old)
                post(place, path + "load", {"parameters": {"version": new}})
                if number % 3 == 0:  # anew, in its own place
                    post(place, path + "load", {"parameters": {"version": new}})
                post(place, path + "unload", {"parameters": {"version": old}})
            clients.until_all_were_answered(new)
        assert clients.wrong == []
        assert clients.lost == {}
        print(f"\n{SWAPS} swaps, {clients.answers.total():,} answers: {dict(clients.answers)}")  # noqa: T201
        assert set(clients.answers) == {(name, one) for name in PROTOCOLS for one in ("1", "2")}


def test_a_kill_loses_only_what_was_in_flight(
    versions: Path, picture: bytes, tmp_path: Path
) -> None:
    models = Models(tmp_path / "models", versions)
    arguments, ports = ("--folder", str(models.folder)), free_ports()
    server = started(tmp_path, *arguments, ports=ports)
    try:
        server.wait_until_ready()
        with Clients(server, models, picture, again=True) as clients:
            for number in range(KILLS):
                clients.until_all_were_answered()
                lost = clients.lost.total()
                server.kill()
                clients.until(lambda lost=lost: clients.lost.total() > lost)  # type: ignore[misc]
                server = started(tmp_path, *arguments, ports=ports)  # the ports are free at once
                time.sleep(0.3 * (number % 8))
                server.kill()  # wherever it is by now, on its way to be ready
                server = started(tmp_path, *arguments, ports=ports)
                server.wait_until_ready()
                clients.until_all_were_answered()
                lost = clients.lost.total()
                for _ in range(5):
                    clients.until_all_were_answered()
                assert clients.lost.total() == lost
        assert clients.wrong == []
        assert "traceback" not in server.log.read_text("utf-8")
    finally:
        server.kill()
    assert sorted(path.name for path in models.folder.rglob("*")) == sorted(
        path.name for path in versions.rglob("*")
    )
