"""What the system says of a socket."""

from __future__ import annotations

import select
import socket


def readable(connection: socket.socket) -> bool:
    """Tell whether there is something to read now, which the end of a connection is too."""
    try:
        if hasattr(select, "poll"):  # which takes any number of files, other than select
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([connection], [], [], 0)[0])
    except (OSError, ValueError):  # it is closed
        return True
