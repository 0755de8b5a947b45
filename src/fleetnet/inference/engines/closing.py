"""Closing: what is closed takes no new calls, and calls that have begun are finished."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from fleetnet.errors import FleetnetError

Loaded = TypeVar("Loaded")


class Closable(Protocol):
    """Something that can be closed; the end of a ``with`` block does that."""

    def close(self) -> None:
        """Take no more calls, and release what it holds; may be called again.

        Calls and iterations that have begun are finished; later ones raise
        :class:`fleetnet.errors.FleetnetError`.
        """
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Closing(Closable, Generic[Loaded]):
    """Something to compute with, until it is closed.

    Each call takes a reference when it begins and keeps it to its end; the last one frees what is
    held. So closing waits for no call. Waiting would never end if the caller itself is iterating.
    """

    name: str

    def __init__(self, loaded: Loaded) -> None:
        self._loaded: Loaded | None = loaded

    def _taken(self) -> Loaded:
        """Return what to compute with, for one call.

        Raises:
            FleetnetError: it is closed.
        """
        loaded = self._loaded
        if loaded is None:
            raise FleetnetError(f"this engine '{self.name}' is closed: open another")
        return loaded

    def close(self) -> None:
        """Take no more calls, and release the network; may be called again."""
        self._loaded = None
