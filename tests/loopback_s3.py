"""An S3 of our own on this machine, and a connection to it that can be cut or slow."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""
BUCKET = "data"


@contextlib.contextmanager
def server() -> Iterator[int]:
    """Serve S3 on loopback from another process while the block runs, and yield its port."""
    command = [sys.executable, "-W", "ignore", "-c", _SERVER]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


def file_system(port: int) -> Any:
    """Return fsspec's view of a server, with the bucket made."""
    import s3fs

    fs = s3fs.S3FileSystem(
        key="me",
        secret="secret",  # noqa: S106 - of a server in a test
        endpoint_url=f"http://127.0.0.1:{port}",
        skip_instance_cache=True,
    )
    with contextlib.suppress(FileExistsError):
        fs.mkdir(BUCKET)
    return fs


def upload(port: int, folder: Path, to: str) -> None:
    """Put the files of a folder there."""
    fs = file_system(port)
    for file in folder.iterdir():
        if file.is_file():
            fs.pipe_file(f"{BUCKET}/{to}/{file.name}", file.read_bytes())


def used(port: int, patch: pytest.MonkeyPatch) -> None:
    """Let what asks for ``s3://`` ask the server on a port of loopback, as long as a test runs."""
    patch.setenv("AWS_ACCESS_KEY_ID", "me")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Each test has a server or a line of its own, which fsspec does not know of.
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@contextlib.contextmanager
def bad_line(server: int, folder: Path, to: str, patch: pytest.MonkeyPatch) -> Iterator[BadLine]:
    """Put the files of a folder on a server, and yield the line that ``s3://`` goes through."""
    upload(server, folder, to)
    line = BadLine(server)
    used(line.port, patch)
    try:
        yield line
    finally:
        line.close()


class BadLine:
    """Passes connections on to a server, and cuts or stalls some of them.

    Args:
        port: of the server.

    Attributes:
        cuts: how many answers are still to be cut after ``cut_at`` bytes.
        cut_at: as said.
        stalls: how many answers are still to stop, with the connection open.
        passed: how many bytes of answers went through.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self.cuts = self.stalls = 0
        self.cut_at = 20_000
        self.passed = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it and all of its connections."""
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                return
            self._open += [near, far]
            threading.Thread(target=self._requests, args=(near, far), daemon=True).start()
            threading.Thread(target=self._answers, args=(far, near), daemon=True).start()

    def _requests(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
        self._end(near, far)

    def _answers(self, far: socket.socket, near: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := far.recv(4096):
                if self.stalls:
                    self.stalls -= 1
                    time.sleep(3600)
                near.sendall(data)
                sent += len(data)
                self.passed += len(data)
                if self.cuts and sent >= self.cut_at:
                    self.cuts -= 1
                    break
        self._end(near, far)

    def _end(self, *connections: socket.socket) -> None:
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
