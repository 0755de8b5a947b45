"""nginx in front of a server; without it, what needs it is left out."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.raw import LONG

NGINX = """
daemon off; master_process off; pid PLACE/nginx.pid; error_log PLACE/error.log;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path PLACE/body; proxy_temp_path PLACE/proxy;
  fastcgi_temp_path PLACE/a; uwsgi_temp_path PLACE/b; scgi_temp_path PLACE/c;
  upstream fleetnet { server ADDRESS; keepalive 8; }
  server {
    listen 127.0.0.1:PORT; client_max_body_size 64m;
    location / {
      proxy_pass http://fleetnet; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host localhost; proxy_request_buffering BUFFERING;
    }
  }
}
"""


@contextlib.contextmanager
def nginx(place: Path, address: str, buffering: str) -> Iterator[str]:
    """Put a proxy in front of a server."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("apt-get install nginx-light")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = {
        "PLACE": str(place), "PORT": str(port), "BUFFERING": buffering,
        "ADDRESS": address.partition("://")[2],
    }  # fmt: skip
    text = NGINX
    for word, value in words.items():
        text = text.replace(word, value)
    (place / "nginx.conf").write_text(text)
    process = subprocess.Popen(
        [program, "-c", place / "nginx.conf", "-e", place / "error.log"], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1000):
            with (
                contextlib.suppress(ConnectionError),
                socket.create_connection(("127.0.0.1", port)),
            ):
                break
            assert process.poll() is None, (place / "error.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(LONG)
