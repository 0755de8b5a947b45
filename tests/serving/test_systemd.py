"""What systemd is told."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from pathlib import Path

import pytest

from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import serve
from fleetnet.serving.systemd import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_told_by_a_datagram(abstract: bool, tmp_path: Path) -> None:
    path = f"@fleetnet-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path.replace("@", "\0"))
        notify("READY=1", {"NOTIFY_SOCKET": path})
        notify("STOPPING=1", {"NOTIFY_SOCKET": path})
        assert [told.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "relative", "/nobody/listens/here", "/" + "x" * 500])
def test_nobody_to_tell_is_no_failure(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fleetnet.serving"):
        notify("READY=1", {"NOTIFY_SOCKET": address})
        notify("READY=1", {})
    assert len(caplog.records) == address.startswith("/")


def test_a_server_says_when_it_is_ready_and_when_it_stops(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    settings = Settings.load_all(None, {}, {"models": {"net": network}, "port": 0})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path)
        told.setblocking(False)

        async def both() -> list[bytes]:
            loop = asyncio.get_running_loop()
            running = asyncio.create_task(serve(settings))
            ready = await loop.sock_recv(told, 100)
            os.kill(os.getpid(), signal.SIGTERM)
            assert await running
            return [ready, await loop.sock_recv(told, 100)]

        assert asyncio.run(both()) == [b"READY=1", b"STOPPING=1"]
