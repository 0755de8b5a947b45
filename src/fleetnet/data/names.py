"""Names of classes that look like mistakes of the people who wrote them."""

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
from fleetnet.text import first_few, some

SHOWN = 3
"""Names, or images, that a finding lists."""
MISSING = frozenset(
    ("#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NaN", "NaT", "None", "n/a",
     "nan", "NULL", "null")
)  # fmt: skip
"""What pandas reads or writes as a missing value; as a class's name it is a mistake."""
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "„": "“", "«": "»"}  # noqa: RUF001
_JOINERS = {0x200C: None, 0x200D: None}
_FRACTION = re.compile(r"-?[0-9]+\.0+")
_DIGITS = re.compile(r"([0-9]{1,18})(\.0+)?")

_Step = tuple[str, Callable[[str], str]]


def odd_names(source: Source) -> tuple[OddNames, ...]:
    """Return what is odd about the names of a source's classes; nothing is changed.

    Names from a file of class names are intended, even two that are nearly the same, such as
    ImageNet's ``Cardigan`` and ``cardigan``: that is reported, but not as wrong.
    """
    names = source.classes
    from_a_file = "classes" in source.spec
    return (
        *(() if from_a_file else _missing(source)),
        *_alike(names, wrong=not from_a_file),
        *_same_numbers(names),
        *_odd(names, _is_quoted, "in quotes, which are part of the name"),
        *_odd(names, _has_blanks, "with white space at an end, which is part of the name"),
        *_odd(names, _has_unseen, "with characters in it that cannot be seen"),
        *_odd(
            names,
            lambda name: _FRACTION.fullmatch(name) is not None,
            "a whole number written as a fraction, as pandas does in a column that misses some: it "
            "is taken for a name",
        ),
        *_mixed(names),
    )


def _missing(source: Source) -> Iterator[OddNames]:
    """Find classes whose name is how a missing value is written."""
    table = SampleTable.of(source.samples)
    for label, name in enumerate(source.classes):
        if name not in MISSING:
            continue
        images = np.searchsorted(table.ends, np.flatnonzero(table.values == label), side="right")
        if not len(images):
            continue
        shown = first_few(
            [printable(table.name(int(index))) for index in images[: SHOWN + 1]], SHOWN
        )
        yield OddNames(
            (name,),
            f"'{name}' is how a missing label is written: {count(len(images), 'image')} ({shown})",
            wrong=True,
        )


_STEPS: tuple[_Step, ...] = (
    ("characters that cannot be seen", lambda name: "".join(filter(_is_seen, name))),
    ("white space", lambda name: " ".join(name.split())),
    ("quotes", lambda name: _unquoted(name)),
    # The case of a single letter has a meaning: such classes are characters to recognise.
    ("upper and lower case", lambda name: name if len(_composed(name)) < 2 else name.casefold()),
    ("the form of their Unicode", lambda name: _composed(name)),
)
"""Differences between names that are meant to be the same, each with what removes it."""


def _alike(names: Sequence[str], *, wrong: bool) -> Iterator[OddNames]:
    """Find names that are the same but for careless writing."""
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
    """Return a name after all steps, ``but`` for one."""
    for what, step in _STEPS:
        name = name if what == but else step(name)
    return name


def _differences(group: Sequence[str]) -> list[str]:
    """Return what the names of a group differ in: the steps without which they are not equal."""
    found = [what for what, _ in _STEPS if len({_plain(name, what) for name in group}) > 1]
    return found or ["white space"]  # a tab or the like, which two of the steps remove


def _shown(name: str, group: Sequence[str]) -> str:
    """Return a name in quotes, so that it looks different from the others of its group."""
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


def _odd(names: Sequence[str], is_odd: Callable[[str], bool], what: str) -> Iterator[OddNames]:
    """Report all names that are odd in one way as one finding."""
    found = tuple(name for name in names if is_odd(name))
    if found:
        shown = some([f"'{printable(name)}'" for name in found], SHOWN)
        yield OddNames(found, f"{shown}: {what}", wrong=False)


def _mixed(names: Sequence[str]) -> Iterator[OddNames]:
    """Find words among numbers; single characters and codes such as ``1a`` are no words."""
    numbers = [name for name in names if as_number(name) is not None]
    others = [name for name in names if as_number(name) is None]
    words = tuple(name for name in others if len(name) > 1)
    if numbers and words and not any(re.search(r"\d", name) for name in others):
        shown = first_few([f"'{printable(name)}'" for name in words], SHOWN)
        yield OddNames(
            words,
            f"{shown} beside '{numbers[0]}': words among numbers; all are taken for names",
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
    """Tell whether a character can be seen: not a control or format character, such as U+200B.

    White space counts as seen, line breaks do not.
    """
    return unicodedata.category(sign) not in ("Cc", "Cf")
