"""Bytes on a connection, for what no client of HTTP would send."""

from __future__ import annotations

import contextlib
import re
import socket

LONG = 60.0


def place_of(address: str) -> tuple[str, int]:
    host, _, port = address.partition("://")[2].rpartition(":")
    return host, int(port)


def asked(address: str, *pieces: str | bytes, end: bool = False) -> bytes:
    """Send pieces on one connection, and return all that comes until it is closed.

    Args:
        address: of the server.
        pieces: sent one after the other.
        end: whether to say that nothing more comes.
    """
    with socket.create_connection(place_of(address), LONG) as connection:
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece.encode("latin-1") if isinstance(piece, str) else piece)
            if end:
                connection.shutdown(socket.SHUT_WR)
        return all_of(connection)


def all_of(connection: socket.socket) -> bytes:
    """Return all that comes until the connection is closed."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            got += piece
    return got


def statuses(got: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", got)]
