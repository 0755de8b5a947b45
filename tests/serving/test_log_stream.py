"""What becomes of a server whose log cannot be written any more: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.logged_server import LONG, Server, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="several workers need Linux"),
]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reader_of_the_log_that_goes_away_takes_nothing_with_it(
    network: Path, picture: bytes, workers: str
) -> None:
    command = [sys.executable, "-m", "fleetnet", "serve", f"net={network}", "--workers", workers]
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-grpc", "--no-brpc", "--log", "json"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        with process.stderr:
            line = next(line for line in process.stderr if '"ready"' in line)
        server = Server(process, Path(os.devnull), json.loads(line)["address"])
        for _ in range(8):
            assert server.ask("POST", "/classify", picture)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
    finally:
        process.kill()
        process.wait()


def test_a_log_that_is_moved_away_or_cut_goes_on(
    network: Path, picture: bytes, tmp_path: Path
) -> None:
    with running(tmp_path, f"net={network}", "--workers", "2") as start:
        server = start()
        log = tmp_path / "log"
        moved = log.rename(tmp_path / "log.1")
        assert server.ask("POST", "/classify", picture)[0] == 200
        assert "POST /classify" in moved.read_text("utf-8")
        os.truncate(moved, 0)  # as a rotation does that copies
        assert server.ask("POST", "/classify", picture)[0] == 200
        text = moved.read_text("utf-8")
        assert "POST /classify" in text
        assert all(json.loads(line) for line in text.splitlines())
