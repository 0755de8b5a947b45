"""Names of classes that look like a slip of whoever wrote the labels or made the folders."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.findings import OddNames
from fleetnet.data.sources.labels import as_number
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.samples import SampleTable
from fleetnet.labels import printable

SHOWN = 3
"""Names, or images, that a finding shows."""
MISSING = frozenset(
    ("#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NaN", "NaT", "None", "n/a",
     "nan", "NULL", "null")
)  # fmt: skip
"""What pandas takes for a missing value or writes for one; a name that is written so is none."""
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "„": "“", "«": "»"}  # noqa: RUF001
_JOINERS = {0x200C: None, 0x200D: None}
_FRACTION = re.compile(r"-?[0-9]+\.0+")
_DIGITS = re.compile(r"([0-9]{1,18})(\.0+)?")

_Step = tuple[str, Callable[[str], str]]


def odd_names(source: Source) -> tuple[OddNames, ...]:
    """Return what is odd about the names of a source's classes; nothing is changed.

    Names from a file of classes were chosen, so that two that are alike are meant to be, as
    ImageNet's ``Cardigan`` and ``cardigan`` are: that is told, but is not wrong.
    """
    names = source.classes
    from_a_file = "classes" in source.spec
    return (
        *(() if from_a_file else _missing(source)),
        *_alike(names, wrong=not from_a_file),
        *_same_numbers(names),
        *_some(names, _is_quoted, "in quotes, which are part of the name"),
        *_some(names, _has_blanks, "with white space at an end, which is part of the name"),
        *_some(names, _has_unseen, "with characters in it that cannot be seen"),
        *_some(
            names,
            lambda name: _FRACTION.fullmatch(name) is not None,
            "a whole number written as a fraction, as pandas does in a column that misses some: it "
            "is taken for a name",
        ),
        *_mixed(names),
    )


def _missing(source: Source) -> Iterator[OddNames]:
    """Find classes that are named as missing values are written."""
    table = SampleTable.of(source.samples)
    for label, name in enumerate(source.classes):
        if name not in MISSING:
            continue
        images = np.searchsorted(table.ends, np.flatnonzero(table.values == label), side="right")
        if not len(images):
            continue
        some = ", ".join(printable(table.name(int(index))) for index in images[:SHOWN])
        more = ", …" if len(images) > SHOWN else ""
        yield OddNames(
            (name,),
            f"'{name}' is how a missing label is written: {count(len(images), 'image')} ({some}"
            f"{more})",
            wrong=True,
        )


_STEPS: tuple[_Step, ...] = (
    ("characters that cannot be seen", lambda name: "".join(filter(_is_seen, name))),
    ("white space", lambda name: " ".join(name.split())),
    ("quotes", lambda name: _unquoted(name)),
    # Of a single letter the case means something: they are characters to be read.
    ("upper and lower case", lambda name: name if len(_composed(name)) < 2 else name.casefold()),
    ("the form of their Unicode", lambda name: _composed(name)),
)
"""What two names may differ in that are meant to be one, each with what takes it away."""


def _alike(names: Sequence[str], *, wrong: bool) -> Iterator[OddNames]:
    """Find names that would be one if they were written with care."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_plain(name)].append(name)
    for group in groups.values():
        group = sorted(set(group))
        if len(group) > 1:
            shown = " and ".join(_shown(name, group) for name in group[:SHOWN])
            yield OddNames(
                tuple(group),
                f"{shown} differ only in {' and '.join(_differences(group))}",
                wrong=wrong,
            )


def _plain(name: str, but: str | None = None) -> str:
    """Return a name with all that carelessness adds taken away, ``but`` for one step."""
    for what, step in _STEPS:
        name = name if what == but else step(name)
    return name


def _differences(group: Sequence[str]) -> list[str]:
    """Return what the names of a group differ in: what keeps them apart when it is left in."""
    found = [what for what, _ in _STEPS if len({_plain(name, what) for name in group}) > 1]
    return found or ["white space"]  # a tab or its like, which two of the steps take away


def _shown(name: str, group: Sequence[str]) -> str:
    """Return a name as it can be told from the others of its group, in quotes."""
    shown = printable(name)
    if list(map(_composed, group)).count(_composed(name)) > 1:
        shown = name.encode("unicode_escape").decode()
    return f"'{shown}'"


def _same_numbers(names: Sequence[str]) -> Iterator[OddNames]:
    """Find names that are one number, such as ``1`` and ``01``, which are two classes."""
    groups: dict[int, list[str]] = defaultdict(list)
    for name in names:
        if (found := _DIGITS.fullmatch(name)) is not None:
            groups[int(found[1])].append(name)
    for number in sorted(groups):
        group = groups[number]
        if len(group) > 1:
            shown = " and ".join(f"'{name}'" for name in group[:SHOWN])
            fractions = any("." in name for name in group)
            yield OddNames(
                tuple(group), f"{shown} are one number in different classes", wrong=fractions
            )


def _some(names: Sequence[str], is_odd: Callable[[str], bool], what: str) -> Iterator[OddNames]:
    """Report all names that are odd in one way as one finding."""
    found = tuple(name for name in names if is_odd(name))
    if found:
        shown = ", ".join(f"'{printable(name)}'" for name in found[:SHOWN])
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        yield OddNames(found, f"{shown}{more}: {what}", wrong=False)


def _mixed(names: Sequence[str]) -> Iterator[OddNames]:
    """Find words among numbers; single characters are none, nor are codes such as ``1a``."""
    numbers = [name for name in names if as_number(name) is not None]
    others = [name for name in names if as_number(name) is None]
    words = tuple(name for name in others if len(name) > 1)
    if numbers and words and not any(re.search(r"\d", name) for name in others):
        shown = ", ".join(f"'{printable(name)}'" for name in words[:SHOWN])
        yield OddNames(
            words,
            f"{shown}{', …' if len(words) > SHOWN else ''} beside '{numbers[0]}': words among "
            "numbers; all are taken for names",
            wrong=False,
        )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _is_quoted(name: str) -> bool:
    return len(name) > 1 and _QUOTES.get(name[0]) == name[-1]


def _unquoted(name: str) -> str:
    return name[1:-1].strip() if _is_quoted(name) else name


def _has_blanks(name: str) -> bool:
    return name != name.strip()


def _has_unseen(name: str) -> bool:
    # Between letters, joiners belong to the spelling of some languages.
    inner = name[:1] + name[1:-1].translate(_JOINERS) + name[1:][-1:]
    return not all(map(_is_seen, inner))


def _is_seen(sign: str) -> bool:
    """Tell whether a character leaves a trace: not a control or format character, such as U+200B.

    White space counts as seen, line breaks do not.
    """
    return unicodedata.category(sign) not in ("Cc", "Cf")
