"""Flags in place of arguments: where other rooms say ``images=``, a person types ``--images``."""

from __future__ import annotations

import re
from functools import partial

from fleetnet.reporting import Note

OTHERWISE = {
    "label_columns": "--label-column",
    "resume": "fleetnet train --resume",
    "set_folder": "--set",
}
"""Flags that are not called as the argument is."""

# People's own words: what a message quotes, and a file's name before its colon.
_QUOTED = re.compile(r"(?<![\w=])'[^']*'(?![\w.'])|^[^:']*\.[A-Za-z]\w{1,4}(?=: )")


def flag(argument: str) -> str:
    """Return the flag of an argument."""
    return OTHERWISE.get(argument, f"--{argument.replace('_', '-')}")


def with_flags(line: str) -> str:
    """Return a line with flags for the arguments that it says it names: ``--split all``.

    In a :class:`fleetnet.reporting.Note` of ``split``, that is what ``split='all'`` becomes, and
    ``set data.workers=0`` in one of that setting becomes ``--set data.workers=0``. Every other line
    stays as it is; so does what is quoted, and the file's name that a line begins with.
    """
    if not isinstance(line, Note):
        return line
    shown, end = "", 0
    for quoted in _QUOTED.finditer(line):
        shown += _own_words(line[end : quoted.start()], line) + quoted[0]
        end = quoted.end()
    return shown + _own_words(line[end:], line)


def _own_words(text: str, note: Note) -> str:
    for argument in note.arguments:
        # Not inside a path, such as data/split=train/0.parquet.
        named = rf"(?<![\w/\\=.'\"-]){re.escape(argument)}=(?:'([^']*)')?(?![\w'\"/\\]|\.\w)"
        text = re.sub(named, partial(_shown, flag(argument)), text)
    for key in note.settings:
        text = re.sub(rf"(?<![\w/\\.-])set (?={re.escape(key)}=[^\s/\\])", "--set ", text)
    return text


def _shown(flag: str, found: re.Match[str]) -> str:
    return flag if found[1] is None else f"{flag} {found[1]}"
