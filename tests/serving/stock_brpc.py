"""Sends by the stock bRPC client, which SPU's link layer has in it; ``make .venv-brpc/.made``.

Arguments: the kind of connection (short, pooled, single), the server's address, one to listen on,
how many messages, and how many bytes each; with 0 messages it tells what it does.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import distribution

# The module alone: the package around it wants JAX.
sys.path.insert(0, str(distribution("spu").locate_file("spu")))
import libspu  # type: ignore[import-not-found]

kind, server, own, number, size = sys.argv[1:]
link = libspu.link
wanted = link.Desc()
wanted.id = "t"
wanted.brpc_channel_protocol = "baidu_std"
wanted.brpc_channel_connection_type = kind
wanted.connect_retry_times = 1
wanted.recv_timeout_ms = wanted.http_timeout_ms = 10_000
wanted.http_max_payload_size = 2**20
wanted.throttle_window_size = 1000
wanted.add_party("own", own)
wanted.add_party("server", server)
try:
    context = link.create_brpc(wanted, 0, log_details=number == "0")
except RuntimeError as error:
    sys.exit(str(error).partition("stacktrace")[0])
for _ in range(int(number)):
    context.send_async(1, bytes(int(size)))
sys.stdout.write(context.recv(1).decode() + "\n")
sys.stdout.flush()
sys.stdin.read()
os._exit(0)  # a link that ends well waits for the other side to end it too
