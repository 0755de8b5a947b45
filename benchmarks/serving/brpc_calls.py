"""Processor time of a server for a bRPC call that computes nothing: what the protocol costs.

Run it as ``PYTHONPATH=tests .venv/bin/python benchmarks/serving/brpc_calls.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import IO, cast

import psutil

from fleetnet.conformance.files import find_set
from serving.brpc_client import Client, request

CALLS, AHEAD = 5000, 16


def measure(client: Client, server: psutil.Process, frame: bytes) -> float:
    """Return milliseconds of processor time a call, of many of which some are in flight."""
    before = server.cpu_times()
    for sent in range(CALLS + AHEAD):
        if sent < CALLS:
            client.send(frame)
        if sent >= AHEAD and (reply := client.receive()).code:
            raise SystemExit(reply.text)
    after = server.cpu_times()
    return (after.user + after.system - before.user - before.system) / CALLS * 1e3


def main() -> None:
    """Start a server, and print a line for each kind of call."""
    network = f"net={find_set() / 'network.onnx'}"
    command = [sys.executable, "-m", "fleetnet", "serve", network, "--port", "0", "--no-grpc"]
    server = subprocess.Popen([*command, "--log", "json"], stderr=subprocess.PIPE, text=True)
    try:
        lines = cast("IO[str]", server.stderr)
        told = next(json.loads(line) for line in lines if '"baidu_std' in line)
        host, _, port = told["address"].partition("://")[2].rpartition(":")
        # Its log has to go somewhere, as it does in operation.
        threading.Thread(target=lines.read, daemon=True).start()
        process = psutil.Process(server.pid)
        with Client((host, int(port))) as client:
            for name, frame in (
                ("no body", request("ServerLive")),
                ("100 kB beside the message", request("ServerLive", attachment=bytes(100_000))),
                (
                    "100 kB with a checksum",
                    request(
                        "ServerLive", attachment=bytes(100_000), checksum=True, with_attachment=True
                    ),
                ),
            ):
                measure(client, process, frame)
                sys.stdout.write(f"{name}: {measure(client, process, frame):.3f} ms\n")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
