"""What long work calls to report how far it is: the types of those callbacks, for all rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from fleetnet.errors import FleetnetError


class Note(str):
    """A line that names arguments, ``images=``, or settings of a recipe, ``set epochs=3``.

    The command line shows its flags in their place, as it does in errors.

    Attributes:
        arguments: names of the arguments.
        settings: keys of the settings.
    """

    arguments: tuple[str, ...]
    settings: tuple[str, ...]

    def __new__(
        cls, text: str, arguments: Iterable[str] = (), settings: Iterable[str] = ()
    ) -> Self:
        """Make a note; see the class."""
        note = super().__new__(cls, text)
        note.arguments, note.settings = tuple(arguments), tuple(settings)
        return note

    @classmethod
    def of(cls, error: FleetnetError, text: str | None = None) -> Self:
        """Return an error's message, or a text that quotes it, with what the message names."""
        return cls(str(error) if text is None else text, error.arguments, error.settings)


Say = Callable[[str], None]
"""Called with a line about what is being done."""
Warn = Callable[[str], object]
"""Called with a line about something that went wrong and does not end the work."""
Advance = Callable[[int], None]
"""Called with how many more steps are done, such as images."""
Begin = Callable[[str, int], Advance]
"""Called with what begins and how many steps it has; returns what its steps are reported to."""
Fetched = Callable[[int, int], None]
"""Called with how many bytes of a download are here, and how many it has in all (0 if unknown)."""
