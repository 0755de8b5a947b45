"""A worker's process, which the supervisor starts with a descriptor of the way back to it."""

from __future__ import annotations

import asyncio
import socket
import sys

from fleetnet.serving.workers.worker import work

if __name__ == "__main__":
    sys.exit(asyncio.run(work(socket.socket(fileno=int(sys.argv[1])))))
