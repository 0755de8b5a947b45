"""Write ``unicode_tables.hpp``: what Python and rich say of characters, for C++.

Both then escape, measure and compare the same characters alike. To renew it:
``python cpp/src/unicode_tables.py > cpp/src/unicode_tables.hpp``.
"""

from __future__ import annotations

import itertools
import sys
import unicodedata
from collections.abc import Callable, Iterator

from rich._unicode_data import load
from rich.cells import get_character_cell_size

_CHARACTERS = range(0x110000)


def tables() -> str:
    """Return the header's text."""
    cells = load("latest")
    return "\n".join(
        (
            "// Written by unicode_tables.py; not to be edited.",
            f"// Characters as Python's Unicode {unicodedata.unidata_version} and rich's "
            f"{cells.unicode_version} have them.",
            "// clang-format off",
            "#pragma once",
            "",
            "#include <cstdint>",
            "",
            "namespace fleetnet::tables {",
            "",
            "struct Range {\n    std::uint32_t first, last;\n};",
            "struct Width {\n    std::uint32_t first, cells;\n};",
            "struct Lower {\n    std::uint32_t first, last, step;\n    std::int32_t add;\n};",
            "",
            "/// Characters for which str.isprintable() is false.",
            _ranges("unprintable", lambda sign: not sign.isprintable()),
            "/// Characters for which str.isalnum() is true.",
            _ranges("alphanumeric", str.isalnum),
            "/// Characters for which str.isdecimal() is true; each range is the digits 0 to 9.",
            _decimals(),
            "/// Cells of a terminal from each character on up to the next one named.",
            _rows("widths", "Width", ((first, width) for first, width in _changes(_width))),
            "/// Characters of one cell that take two before U+FE0F.",
            _rows("narrow_to_wide", "std::uint32_t", sorted(map(ord, cells.narrow_to_wide))),
            "/// What str.lower() adds to each `step`th character of a range.",
            _rows("lower", "Lower", _lower()),
            "}  // namespace fleetnet::tables",
            "",
        )
    )


def _width(sign: str) -> int:
    return get_character_cell_size(sign, "latest")


def _changes(value: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    before = None
    for number in _CHARACTERS:
        now = value(chr(number))
        if now != before:
            yield number, now
        before = now


def _ranges(name: str, holds: Callable[[str], bool]) -> str:
    firsts = [*_changes(lambda sign: int(holds(sign))), (len(_CHARACTERS), 0)]
    found = ((first, after - 1) for (first, true), (after, _) in itertools.pairwise(firsts) if true)
    return _rows(name, "Range", found)


def _decimals() -> str:
    zeros = (number for number in _CHARACTERS if unicodedata.decimal(chr(number), None) == 0)
    return _rows("decimals", "Range", ((zero, zero + 9) for zero in zeros))


def _lower() -> Iterator[tuple[int, int, int, int]]:
    """Yield runs of characters, each or every second one, that become lower by one number."""
    pairs = [
        (number, ord(lower) - number)
        for number in _CHARACTERS
        if len(lower := chr(number).lower()) == 1 and ord(lower) != number
    ]
    while pairs:
        (first, add), *_ = pairs
        step = pairs[1][0] - first if len(pairs) > 1 and pairs[1][1] == add else 1
        step = step if step in (1, 2) else 1
        length = 1
        while length < len(pairs) and pairs[length] == (first + length * step, add):
            length += 1
        yield first, first + (length - 1) * step, step, add
        del pairs[:length]


def _rows(name: str, kind: str, rows: Iterator[tuple[int, ...]] | list[int]) -> str:
    cells = [
        "{" + ", ".join(map(str, row)) + "}" if isinstance(row, tuple) else str(row) for row in rows
    ]
    lines, line = [], "   "
    for cell in cells:
        if len(line) + len(cell) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {cell},"
    return "\n".join([f"constexpr {kind} {name}[] = {{", *lines, line, "};", ""])


if __name__ == "__main__":
    sys.stdout.write(tables())
