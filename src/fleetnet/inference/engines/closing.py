"""An end: whatever is closed takes no new calls, and those that have begun are finished."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from fleetnet.errors import FleetnetError

Loaded = TypeVar("Loaded")


class Closable(Protocol):
    """Something to close, which the end of a ``with`` block does."""

    def close(self) -> None:
        """Take no more calls, and let go of what it holds; a second time changes nothing.

        A call that has begun, an iteration too, is finished; any other raises
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

    Each call takes it once, when it begins, and keeps it to its end. So closing need not wait for
    any, which might be for ever where the caller itself is in the midst of one; whoever is last
    frees it.
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
        """Take no more calls, and let go of the network; a second time changes nothing."""
        self._loaded = None
