"""Lists and names in messages, shortened or offered as a choice, and in other languages' files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence


def some(words: Sequence[str], shown: int) -> str:
    """Return the first few words and how many more there are: ``a, b and 7 more``."""
    more = f" and {len(words) - shown:,} more" if len(words) > shown else ""
    return ", ".join(words[:shown]) + more


def first_few(words: Sequence[str], shown: int) -> str:
    """Return the first few words, and an ellipsis where there are more: ``a, b, …``."""
    return ", ".join(words[:shown]) + (", …" if len(words) > shown else "")


def shorten(
    text: str, room: float, width: Callable[[str], float] = len, *, keep_end: bool = False
) -> str:
    """Return as much of a text as fits, with an ellipsis where it is cut.

    Args:
        text: of any length.
        room: how wide the text with its ellipsis may be.
        width: of a text, in the unit of ``room``; characters unless given.
        keep_end: cut the beginning off instead of the end.
    """
    if width(text) <= room:
        return text

    def cut(kept: int) -> str:
        return f"…{text[len(text) - kept :]}" if keep_end else f"{text[:kept]}…"

    fitting = bisect_right(range(len(text)), room, key=lambda kept: width(cut(kept)))
    return cut(max(fitting - 1, 0))


def either(words: Iterable[str]) -> str:
    """Return words as a choice: ``a, b or c``."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def quoted(text: str) -> str:
    r"""Return a text as C, C++ and protobuf write it; what is not plain ASCII becomes ``\ooo``."""
    signs = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogateescape")
    )
    return f'"{"".join(signs)}"'
