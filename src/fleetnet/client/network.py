"""What a connection is to the rest: two kinds of it, one that blocks and asyncio's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from fleetnet.client.address import Address
from fleetnet.client.deadline import Deadline

Value = TypeVar("Value")
PIECE = 256 * 2**10
"""Bytes that are sent or received at once."""


class Stream(Protocol):
    """A connection.

    What it raises is a DeadlineError, or the OSError of the system.
    """

    async def send(self, data: bytes, deadline: Deadline) -> bool:
        """Send the bytes, and tell whether all were: not if there is an answer before their end."""
        ...

    async def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes, none at the end."""
        ...

    def usable(self) -> bool:
        """Tell whether an idle connection is open, as far as is known here."""
        ...

    def close(self) -> None:
        """Close it; more than once does nothing."""


class Network(Protocol):
    """Opens connections, and waits."""

    async def connect(self, address: Address, deadline: Deadline) -> Stream:
        """Open a connection."""
        ...

    async def enter(self, deadline: Deadline) -> None:
        """Wait until there may be one connection more."""

    def leave(self) -> None:
        """Let another have the place."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def aside(self, work: Callable[[], Value]) -> Value:
        """Do what takes time, such as reading files, where nobody else has to wait for it."""
        ...
