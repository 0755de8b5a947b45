"""Telling systemd, or another supervisor of its protocol, how far the server is.

A datagram to the socket that the environment names is the whole protocol: sd_notify(3).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import Literal

log = logging.getLogger("fleetnet.serving")

VARIABLE = "NOTIFY_SOCKET"
State = Literal["READY=1", "STOPPING=1"]


def notify(state: State, environment: Mapping[str, str] | None = None) -> None:
    """Say that the server is ready or stops, if anybody wants to know; failing is no failure.

    Args:
        state: in the protocol's words.
        environment: that names the socket; None for the process's own.
    """
    address = (os.environ if environment is None else environment).get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifying:
            notifying.setblocking(False)
            # An @ stands for the null byte of an abstract address.
            notifying.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        log.warning("cannot tell the supervisor %s: %s", state, error)
