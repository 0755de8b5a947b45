"""What a kind of data source says of itself, before anything is opened."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.protocol import Source


@dataclass(frozen=True)
class SourceKind:
    """A kind of data that can be opened, as its file presents it under the name ``SOURCE``.

    Attributes:
        name: unlike any other kind's.
        title: what messages call such data, in the plural.
        open: opens what a user typed.
        options: names of the :class:`SourceOptions` that it takes; any other is refused.
        words: that name such data, where no folder is called so; a word that ends in a colon, such
            as ``hub:``, takes everything that begins with it.
        suffixes: of its files, in small letters, each with its one dot.
        holds: tells whether a folder is such data; None where none ever is.
        instead: of data that no kind takes, file or folder, what to do so that this one can; None
            where that has nothing to do with it.
        rank: of several kinds that take one folder, the one with the lowest gets it.
    """

    name: str
    title: str
    open: Callable[[str, SourceOptions], Source]
    options: Collection[str] = ()
    words: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    holds: Callable[[Path], bool] | None = None
    instead: Callable[[str], str | None] | None = None
    rank: int = 100

    def is_called(self, data: str) -> bool:
        """Tell whether a word names such data."""
        return any(
            data == word or (word.endswith(":") and data.startswith(word)) for word in self.words
        )
